"""A BERT encoder from its safetensors file as ONNX graphs, and the same in numpy to check them by.

`vs-onnxruntime` uses it, with the packages numpy, onnx and onnxruntime. The graph is written as
PyTorch's exporter writes it, so that ONNX Runtime's own optimizer finds what it looks for.
"""
import json
import math
import struct
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
TYPES = {"F16": "<f2", "F32": "<f4"}


class Weights:
    """A folder with `config.json` and `model.safetensors`; of the token table only some rows.

    What looks tokens up costs nothing beside the layers, and with its 250,000 rows each of the
    graphs would be 400 MB. So tokens are numbered by their place in `rows`, in order.
    """

    def __init__(self, folder, rows, kind):
        config = self.config = json.loads((Path(folder) / "config.json").read_text())
        self.hidden, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.layers = config["num_hidden_layers"]
        if config["model_type"] != kind:
            raise SystemExit(f"error: {folder} holds a {config['model_type']} model, not {kind}")
        data = np.memmap(Path(folder) / "model.safetensors", mode="r")
        (size,) = struct.unpack("<Q", data[:8].tobytes())
        self.tensors = {}
        for name, entry in json.loads(data[8 : 8 + size].tobytes()).items():
            if name != "__metadata__":
                start, end = (8 + size + at for at in entry["data_offsets"])
                self.tensors[name] = data[start:end].view(TYPES[entry["dtype"]]).reshape(entry["shape"])
        self.tensors[self.TOKENS] = self.tensors[self.TOKENS][np.asarray(rows)]

    def __getitem__(self, name):
        return self.tensors[name].astype(np.float32)

    def is_windowed(self, longest):
        """Whether a window cuts texts of so many tokens."""
        return False


class Model(Weights):
    """BERT."""

    TOKENS = "embeddings.word_embeddings.weight"
    INPUTS = ["input_ids", "token_type_ids"]

    def __init__(self, folder, rows):
        super().__init__(folder, rows, "bert")
        self.epsilon = self.config.get("layer_norm_eps", 1e-12)
        self.graphs = {
            "as exported": lambda masked, windowed: graph(self, masked),
            "Attention fused": lambda masked, windowed: fuse(self, masked, multi_head=False),
            "MultiHeadAttention fused": lambda masked, windowed: fuse(self, masked, multi_head=True),
        }

    def reference(self, ids):
        return reference(self, ids)


def reference(model, ids):
    """Token vectors [tokens, hidden] of one text, in double precision, straight from the paper."""

    def tensor(name):
        return model[name].astype(np.float64)

    def linear(x, name):
        return x @ tensor(f"{name}.weight").T + tensor(f"{name}.bias")

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + model.epsilon)
        return x * tensor(f"{name}.weight") + tensor(f"{name}.bias")

    def split(x):
        return x.reshape(len(ids), model.heads, -1).transpose(1, 0, 2)

    x = tensor("embeddings.word_embeddings.weight")[ids]
    x = x + tensor("embeddings.position_embeddings.weight")[: len(ids)]
    x = norm(x + tensor("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
    erf = np.vectorize(math.erf)
    for number in range(model.layers):
        at = f"encoder.layer.{number}"
        q, k, v = (split(linear(x, f"{at}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        inner = linear(x, f"{at}.intermediate.dense")
        inner *= 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


class Builder:
    """Collects nodes and constants; a node's output is named after it."""

    def __init__(self):
        self.nodes, self.constants = [], {}

    def constant(self, name, value):
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def integers(self, *values):
        return self.constant("integers_" + "_".join(map(str, values)).replace("-", "m"), np.int64(values))

    def scalar(self, name, value):
        return self.constant(name, np.float32(value))

    def __call__(self, operator, *inputs, **attributes):
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(self, operator, count, *inputs, **attributes):
        name = f"{operator}_{len(self.nodes)}"
        outputs = [name, *(f"{name}_{i}" for i in range(1, count))]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs

    def finish(self, hidden, inputs, masked):
        """The model whose result is that of the last node."""
        self.nodes[-1].output[0] = "hidden"

        def value(name, kind, *more):
            return helper.make_tensor_value_info(name, kind, ["batch", "tokens", *more])

        body = helper.make_graph(
            self.nodes, "encoder",
            [value(name, TensorProto.INT64) for name in inputs + ["attention_mask"] * masked],
            [value("hidden", TensorProto.FLOAT, hidden)], list(self.constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(body, opset_imports=opsets, ir_version=8)


def graph(model, masked):
    """The whole encoder: ids and types (and a mask) [batch, tokens] → [batch, tokens, hidden]."""
    add = Builder()
    hidden, heads = model.hidden, model.heads

    def linear(x, name):
        weight = add.constant(f"{name}.weight", np.ascontiguousarray(model[f"{name}.weight"].T))
        return add("Add", add("MatMul", x, weight), add.constant(f"{name}.bias", model[f"{name}.bias"]))

    def norm(x, name):
        parts = [add.constant(f"{name}.{part}", model[f"{name}.{part}"]) for part in ("weight", "bias")]
        return add("LayerNormalization", x, *parts, axis=-1, epsilon=model.epsilon)

    def gather(name, ids):
        name = f"embeddings.{name}.weight"
        return add("Gather", add.constant(name, model[name]), ids)

    positions = len(model.tensors["embeddings.position_embeddings.weight"])
    tokens = add("Gather", add("Shape", "input_ids"), add.constant("one", np.int64(1)))
    everywhere = add.constant("positions", np.arange(positions, dtype=np.int64)[None])
    tokens = add("Unsqueeze", tokens, add.integers(0))
    places = add("Slice", everywhere, add.integers(0), tokens, add.integers(1), add.integers(1))
    x = add("Add", gather("word_embeddings", "input_ids"), gather("token_type_embeddings", "token_type_ids"))
    x = norm(add("Add", x, gather("position_embeddings", places)), "embeddings.LayerNorm")
    if masked:
        mask = add("Unsqueeze", add("Unsqueeze", "attention_mask", add.integers(1)), add.integers(2))
        mask = add("Sub", add.scalar("all", 1), add("Cast", mask, to=TensorProto.FLOAT))
        mask = add("Mul", mask, add.scalar("lowest", -10000))

    def split(x, order):
        x = add("Reshape", x, add.integers(0, 0, heads, hidden // heads))
        return add("Transpose", x, perm=order)

    for number in range(model.layers):
        at = f"encoder.layer.{number}"
        q = split(linear(x, f"{at}.attention.self.query"), [0, 2, 1, 3])
        k = split(linear(x, f"{at}.attention.self.key"), [0, 2, 3, 1])
        v = split(linear(x, f"{at}.attention.self.value"), [0, 2, 1, 3])
        scores = add("Div", add("MatMul", q, k), add.scalar("root", math.sqrt(hidden // heads)))
        if masked:
            scores = add("Add", scores, mask)
        mixed = add("MatMul", add("Softmax", scores, axis=-1), v)
        mixed = add("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = add("Reshape", mixed, add.integers(0, 0, hidden))
        mixed = linear(mixed, f"{at}.attention.output.dense")
        x = norm(add("Add", mixed, x), f"{at}.attention.output.LayerNorm")
        inner = linear(x, f"{at}.intermediate.dense")
        erf = add("Erf", add("Div", inner, add.scalar("root_2", math.sqrt(2))))
        inner = add("Mul", inner, add("Add", erf, add.scalar("plus", 1)))
        inner = add("Mul", inner, add.scalar("half", 0.5))
        x = norm(add("Add", linear(inner, f"{at}.output.dense"), x), f"{at}.output.LayerNorm")
    return add.finish(hidden, model.INPUTS, masked)


def fuse(model, masked, multi_head):
    """The same after what ONNX Runtime's optimizer for BERT: whole attention, GELU and norms.

    `multi_head` keeps the products of queries, keys and values apart and fuses the rest of
    attention, for which there is a kernel that never writes the scores down.
    """
    from onnxruntime.transformers.fusion_options import AttentionMaskFormat, FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions("bert")
    options.use_multi_head_attention = multi_head
    if not masked:
        options.attention_mask_format = AttentionMaskFormat.NoMask
    # Level 0: a session does the rest of the optimizing anyway, and the other levels want torch.
    fused = optimize_model(graph(model, masked), "bert", num_heads=model.heads, opt_level=0,
                           hidden_size=model.hidden, optimization_options=options).model
    wanted = {"MultiHeadAttention" if multi_head else "Attention": model.layers,
              "BiasGelu": model.layers, "SkipLayerNormalization": 2 * model.layers,
              "EmbedLayerNormalization": 1}
    found = {kind: sum(node.op_type == kind for node in fused.graph.node) for kind in wanted}
    if found != wanted:
        raise SystemExit(f"error: the optimizer fused {found}, of {wanted}; take the pinned versions")
    return fused


def quantize(float32, **settings):
    """Dynamic int8: weights quantized here, activations at run time."""
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        # Fused nodes say nothing of their outputs' type.
        quantize_dynamic(float32, path, op_types_to_quantize=["MatMul", "Attention"],
                         extra_options={"DefaultTensorType": TensorProto.FLOAT}, **settings)
        return onnx.load(path)
