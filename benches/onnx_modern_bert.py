"""A ModernBERT from its safetensors file as ONNX graphs, and the same in numpy to check them by.

`vs-onnxruntime` uses it as it uses onnx_encoder.py.
"""
import math

import numpy as np
import onnx_encoder
from onnx import TensorProto


class Model(onnx_encoder.Weights):
    """A folder with `config.json` and `model.safetensors`; of the token table only some rows."""

    TOKENS = "embeddings.tok_embeddings.weight"
    INPUTS = ["input_ids"]

    def __init__(self, folder, rows):
        super().__init__(folder, rows, "modernbert")
        self.epsilon, self.reach = self.config["norm_eps"], self.config["local_attention"] // 2
        self.positions = self.config["max_position_embeddings"]
        every = self.config["global_attn_every_n_layers"]
        self.sees_all = [number % every == 0 for number in range(self.layers)]
        self.graphs = {
            "as exported": lambda masked, windowed: graph(self, masked, windowed, fused=False),
            "RotaryEmbedding and MultiHeadAttention":
                lambda masked, windowed: graph(self, masked, windowed, fused=True),
        }

    def is_windowed(self, longest):
        return bool(longest > self.reach + 1)

    def angles(self, sees_all):
        """Cosines and sines of all places, [places, dim / 2]."""
        base = self.config["global_rope_theta" if sees_all else "local_rope_theta"]
        dim = self.hidden // self.heads
        angles = np.outer(np.arange(self.positions), base ** (-np.arange(0, dim, 2) / dim))
        return np.cos(angles), np.sin(angles)

    def reference(self, ids):
        """Token vectors [tokens, hidden] of one text, in double precision, straight from the paper."""

        def tensor(name):
            return self[name].astype(np.float64)

        def norm(x, name):
            x = x - x.mean(-1, keepdims=True)
            return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * tensor(f"{name}.weight")

        def rotate(x, sees_all):
            cos, sin = (part[: len(ids)] for part in self.angles(sees_all))
            a, b = np.split(x, 2, axis=-1)
            return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

        places = np.arange(len(ids))
        unseen = np.abs(places[:, None] - places) > self.reach
        x = norm(tensor(self.TOKENS)[ids], "embeddings.norm")
        erf = np.vectorize(math.erf)
        for number, sees_all in enumerate(self.sees_all):
            at = f"layers.{number}"
            read = norm(x, f"{at}.attn_norm") if number else x
            qkv = (read @ tensor(f"{at}.attn.Wqkv.weight").T).reshape(len(ids), 3, self.heads, -1)
            q, k, v = qkv.transpose(1, 2, 0, 3)
            q, k = rotate(q, sees_all), rotate(k, sees_all)
            scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
            if not sees_all:
                scores[:, unseen] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = weights / weights.sum(-1, keepdims=True) @ v
            mixed = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
            x = x + mixed @ tensor(f"{at}.attn.Wo.weight").T
            inner, gate = np.split(norm(x, f"{at}.mlp_norm") @ tensor(f"{at}.mlp.Wi.weight").T, 2, axis=-1)
            inner *= 0.5 * (1 + erf(inner / math.sqrt(2)))
            x = x + (inner * gate) @ tensor(f"{at}.mlp.Wo.weight").T
        return norm(x, "final_norm")


def graph(model, masked, windowed, fused):
    """The whole encoder: ids (and a mask) [batch, tokens] → [batch, tokens, hidden].

    Texts that no window cuts need none (`windowed`). `fused` uses ONNX Runtime's own operators for
    the rotation and for the rest of attention, as its optimizer does for other models.
    """
    add = onnx_encoder.Builder()
    hidden, heads = model.hidden, model.heads
    dim = hidden // heads

    def linear(x, name):
        return add("MatMul", x, add.constant(f"{name}.weight", np.ascontiguousarray(model[f"{name}.weight"].T)))

    def norm(x, name):
        weight = add.constant(f"{name}.weight", model[f"{name}.weight"])
        return add("LayerNormalization", x, weight, axis=-1, epsilon=model.epsilon)

    tokens = add("Unsqueeze", add("Gather", add("Shape", "input_ids"), add.constant("one", np.int64(1))),
                 add.integers(0))

    def beginning(name, table):
        table = add.constant(name, table)
        return add("Slice", table, add.integers(0), tokens, add.integers(0), add.integers(1))

    places = beginning("places", np.arange(model.positions, dtype=np.int64))
    tables = {}
    for sees_all in set(model.sees_all):
        for name, table in zip(("cos", "sin"), model.angles(sees_all)):
            table = table.astype(np.float32)
            name = f"{name} {'all' if sees_all else 'near'}"
            tables[name] = add.constant(name, table) if fused \
                else beginning(name, np.concatenate([table, table], axis=1))

    hidden_from = {True: None, False: None}
    if windowed:
        columns, rows = (add("Unsqueeze", places, add.integers(axis)) for axis in (0, 1))
        far = add("Greater", add("Abs", add("Sub", rows, columns)), add.constant("reach", np.int64(model.reach)))
        far = add("Mul", add("Cast", far, to=TensorProto.FLOAT), add.scalar("lowest", -10000))
        hidden_from[False] = add("Unsqueeze", far, add.integers(0, 1))
    if masked:
        mask = add("Unsqueeze", "attention_mask", add.integers(1, 2))
        mask = add("Sub", add.scalar("all", 1), add("Cast", mask, to=TensorProto.FLOAT))
        mask = add("Mul", mask, add.scalar("padding", -10000))
        square = add("Concat", add.integers(1, 1), tokens, add.integers(1), axis=0)
        whole = add("Expand", mask, square) if fused else mask
        near = hidden_from[False]
        hidden_from = {True: whole, False: add("Add", near, mask) if near else whole}

    def split(x, order):
        return add("Transpose", add("Reshape", x, add.integers(0, 0, heads, dim)), perm=order)

    def rotate(x, kind):
        if fused:
            return add("RotaryEmbedding", x, row, tables[f"cos {kind}"], tables[f"sin {kind}"],
                       domain="com.microsoft", num_heads=heads)
        x = split(x, [0, 2, 1, 3])
        a, b = (add("Slice", x, add.integers(start), add.integers(end), add.integers(3), add.integers(1))
                for start, end in ((0, dim // 2), (dim // 2, dim)))
        turned = add("Concat", add("Neg", b), a, axis=-1)
        return add("Add", add("Mul", x, tables[f"cos {kind}"]), add("Mul", turned, tables[f"sin {kind}"]))

    row = add("Expand", add("Unsqueeze", places, add.integers(0)), add("Shape", "input_ids"))
    x = norm(add("Gather", add.constant(model.TOKENS, model[model.TOKENS]), "input_ids"), "embeddings.norm")
    for number, sees_all in enumerate(model.sees_all):
        at, kind = f"layers.{number}", "all" if sees_all else "near"
        read = norm(x, f"{at}.attn_norm") if number else x
        qkv = linear(read, f"{at}.attn.Wqkv")
        q, k, v = add.several("Split", 3, qkv, add.integers(hidden, hidden, hidden), axis=-1)
        q, k, unseen = rotate(q, kind), rotate(k, kind), hidden_from[sees_all]
        if fused:
            more = ["", "", unseen] if unseen else []
            mixed = add("MultiHeadAttention", q, k, v, *more, domain="com.microsoft", num_heads=heads)
        else:
            scores = add("MatMul", q, add("Transpose", k, perm=[0, 1, 3, 2]))
            scores = add("Mul", scores, add.scalar("scale", 1 / math.sqrt(dim)))
            if unseen:
                scores = add("Add", scores, unseen)
            mixed = add("MatMul", add("Softmax", scores, axis=-1), split(v, [0, 2, 1, 3]))
            mixed = add("Reshape", add("Transpose", mixed, perm=[0, 2, 1, 3]), add.integers(0, 0, hidden))
        x = add("Add", x, linear(mixed, f"{at}.attn.Wo"))
        inner = linear(norm(x, f"{at}.mlp_norm"), f"{at}.mlp.Wi")
        half = model.config["intermediate_size"]
        inner, gate = add.several("Split", 2, inner, add.integers(half, half), axis=-1)
        erf = add("Erf", add("Div", inner, add.scalar("root_2", math.sqrt(2))))
        inner = add("Mul", inner, add("Add", erf, add.scalar("plus", 1)))
        inner = add("Mul", add("Mul", inner, add.scalar("half", 0.5)), gate)
        x = add("Add", x, linear(inner, f"{at}.mlp.Wo"))
    norm(x, "final_norm")
    return add.finish(hidden, model.INPUTS, masked)
