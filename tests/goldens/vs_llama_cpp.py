"""Writes tiny-llama-quantized/model.gguf and vs_llama_cpp.json: quantized weights, and llama.cpp.

usage: python tests/goldens/vs_llama_cpp.py MODELS_DIR

needs, beside the other scripts' packages, llama.cpp: `pip install llama-cpp-python==0.3.36` (it
compiles for some minutes; LLAMA_CPP_LIB_PATH names a folder with its libraries built elsewhere).

model.gguf is a random Llama, of the same kind as tiny-llama, whose matrices have a type each: every
type that GGUF files of Llama 3.1 come in. llama.cpp quantizes them.

vs_llama_cpp.json has
    tensors    per matrix: its type, the numbers that the independent numpy code of the package
               gguf reads from it (`sums`: of the first rows, weighted with cos(0.1 column²)), and
    exact      the logits of transformers in float32 with these numbers;
    tiny       what llama.cpp makes of the same file: logits, and 64 greedy tokens;
    smollm2    and of the demo's LLM: a conversation's ids, the best logits, 64 greedy tokens.

llama.cpp rounds activations to 8 bits before it multiplies them with quantized weights, as other
engines do, each in its own way. Its logits are therefore off the exact ones by `tiny.noise` at
most, and its greedy tokens can be compared only where the best two logits are farther apart. Of
many random prompts the script takes the one whose 64 steps are the clearest.
"""

from __future__ import annotations

import ctypes

import gguf
import llama_cpp
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from llama_cpp.llama_cpp import _lib as library  # with those it depends on, ggml among them

import llama
from common import HERE, deterministic, models_folder, rounded, write_golden
from smollm2 import FILE, MODEL

FOLDER = HERE / "tiny-llama-quantized"
SHAPE = {
    "hidden_size": 256,  # K-quants come in blocks of 256
    "intermediate_size": 256,
    "head_dim": 32,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
TYPES = {
    "token_embd.weight": Type.Q4_K,
    "blk.0.attn_q.weight": Type.Q4_0,
    "blk.0.attn_k.weight": Type.F16,
    "blk.0.attn_v.weight": Type.BF16,
    "blk.0.attn_output.weight": Type.Q4_1,
    "blk.0.ffn_gate.weight": Type.Q8_0,
    "blk.0.ffn_up.weight": Type.Q2_K,
    "blk.0.ffn_down.weight": Type.Q3_K,
    "blk.1.attn_q.weight": Type.Q4_K,
    "blk.1.attn_k.weight": Type.F32,
    "blk.1.attn_v.weight": Type.Q6_K,
    "blk.1.attn_output.weight": Type.Q5_0,
    "blk.1.ffn_gate.weight": Type.Q5_1,
    "blk.1.ffn_up.weight": Type.Q5_K,
    "blk.1.ffn_down.weight": Type.Q4_K,
    "output.weight": Type.Q6_K,
}
SEED = 7
# Layers that add less than tiny-llama's to the embeddings amplify rounding errors less.
CALM, CALM_ATTENTION = 0.4, 0.8
PROMPT = 100  # tokens
PROMPTS = 1500  # random ones to choose from
POSITIONS = [0, 50, PROMPT - 1]
GREEDY = 64
MARGIN = 0.5  # of SmolLM2
DISTINCT = 24  # tokens at least: a loop of a few says little
ROWS = 4

MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {
        "role": "user",
        "content": "Copy the following paragraph exactly.\n\nPlants make their own food. "
        "Photosynthesis is a process used by plants to convert light energy into chemical energy. "
        "It takes place in the chloroplasts, which contain the green pigment chlorophyll. Water "
        "and carbon dioxide become glucose and oxygen. Animals cannot do this, so they eat plants "
        "or other animals to live and grow.",
    },
]


def quantize(name: str, values: np.ndarray) -> tuple[np.ndarray, Type]:
    """By llama.cpp, as its `llama-quantize` without an importance matrix."""
    kind = TYPES.get(name, Type.F32)
    if kind == Type.F32:
        return values, kind
    values = np.ascontiguousarray(values, np.float32)
    rows, columns = values.shape
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.zeros((rows, columns // block * size), np.uint8)
    quantize_chunk = library.ggml_quantize_chunk
    quantize_chunk.restype = ctypes.c_size_t
    written = quantize_chunk(
        ctypes.c_int(kind),
        values.ctypes.data_as(ctypes.c_void_p),
        data.ctypes.data_as(ctypes.c_void_p),
        *(ctypes.c_int64(n) for n in (0, rows, columns)),
        None,
    )
    assert written == data.nbytes
    return data, kind


def read_back(reader: gguf.GGUFReader) -> dict[str, np.ndarray]:
    """The numbers in the file, by numpy code that shares nothing with llama.cpp."""
    return {t.name: gguf.dequantize(t.data, t.tensor_type) for t in reader.tensors}


def halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undoes `llama.interleaved`."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def hugging_face(values: dict[str, np.ndarray], like: dict[str, torch.Tensor]) -> dict:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, llama.CONFIG["num_hidden_layers"])
    weights = {}
    for name in like:
        weight = values[names.get_name(name, try_suffixes=(".weight",))]
        if name.endswith("q_proj.weight"):
            weight = halves(weight, SHAPE["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            weight = halves(weight, SHAPE["num_key_value_heads"])
        weights[name] = torch.from_numpy(weight.copy())
    return weights


def weighted_sums(weight: np.ndarray) -> list[float]:
    columns = np.arange(weight.shape[1], dtype=np.float64)
    return rounded((weight[:ROWS].astype(np.float64) @ np.cos(0.1 * columns**2)).tolist(), 6)


class LlamaCpp:
    """llama.cpp on one thread, with logits for every token."""

    def __init__(self, path):
        self.model = llama_cpp.Llama(
            str(path), n_ctx=512, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False
        )

    def logits(self, ids: list[int]) -> np.ndarray:
        self.model.reset()
        self.model.eval(ids)
        return self.model.scores[: len(ids)].copy()

    def greedy(self, prompt: list[int], margin: float = 0.0) -> tuple[list[int], list[float]]:
        """Up to 64 tokens and the distance of the best two logits at each; stops where it is below
        `margin`."""
        self.model.reset()
        self.model.eval(prompt)
        tokens, margins = [], []
        while len(tokens) < GREEDY:
            last = self.model.scores[self.model.n_tokens - 1]
            second, best = np.argpartition(last, -2)[-2:]
            if last[best] < last[second]:
                second, best = best, second
            margins.append(float(last[best] - last[second]))
            tokens.append(int(best))
            if margins[-1] < margin:
                break
            self.model.eval([int(best)])
        return tokens, margins


def tiny() -> dict:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "model.gguf"
    weights = llama.random_weights(**SHAPE)
    for name, weight in weights.items():
        if "proj" in name:
            weight *= CALM_ATTENTION if "q_proj" in name or "k_proj" in name else CALM
    llama.write_gguf(path, weights, llama.train_tokenizer(), quantize, **SHAPE)
    values = read_back(gguf.GGUFReader(path))
    exact = llama.build(hugging_face(values, weights), **SHAPE)
    engine = LlamaCpp(path)

    best = ([], [], [0.0])
    for _ in range(PROMPTS):
        # No special tokens, in the answer neither: they would end it.
        ordinary = llama.CONFIG["bos_token_id"]
        prompt = torch.randint(ordinary, (PROMPT,)).tolist()
        tokens, margins = engine.greedy(prompt, min(best[2]))
        if min(margins) > min(best[2]) and max(tokens) < ordinary and len(set(tokens)) >= DISTINCT:
            best = (prompt, tokens, margins)
    prompt, tokens, margins = best
    ids = prompt + tokens
    expected = exact(torch.tensor([ids])).logits[0].numpy()
    found = engine.logits(ids)
    noise = np.abs(found - expected).max()
    plain = llama.build(hugging_face(values, weights), rope_scaling=None, **SHAPE)
    unscaled = plain(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(unscaled - expected).max() > 5 * noise, "the scaling hardly changes the logits"
    print(f"llama.cpp is off by {noise:.4f}, the clearest prompt's margin is {min(margins):.4f}")
    assert len(tokens) == GREEDY
    assert (expected[PROMPT - 1 : -1].argmax(1) == tokens).all(), "exact weights choose otherwise"

    def at_positions(logits: np.ndarray) -> list[dict]:
        return [{"position": p, "logits": rounded(logits[p].tolist(), 4)} for p in POSITIONS]

    return {
        "tensors": [
            {"name": name, "type": TYPES[name].name, "sums": weighted_sums(values[name])}
            for name in TYPES
        ],
        "prompt_ids": prompt,
        "exact": at_positions(expected),
        "tiny": {
            "logits": at_positions(found),
            "noise": rounded(float(noise), 4),
            "greedy": tokens,
            "smallest_margin": rounded(min(margins), 4),
        },
    }


def smollm2(path) -> dict:
    engine = LlamaCpp(path)
    prompt = "".join(
        f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in MESSAGES
    )
    prompt += "<|im_start|>assistant\n"
    ids = engine.model.tokenize(prompt.encode(), add_bos=False, special=True)
    tokens, margins = engine.greedy(ids)
    assert min(margins) > MARGIN, f"a greedy step is nearly a tie: {min(margins)}"
    assert tokens.index(engine.model.token_eos()) == GREEDY - 1, "the answer has other than 64 steps"
    first = engine.logits(ids)[-1]
    order = first.argsort()[::-1][:5]
    return {
        "messages": MESSAGES,
        "prompt_ids": ids,
        "first_step": [{"id": int(i), "logit": rounded(float(first[i]), 4)} for i in order],
        "greedy": tokens,
        "smallest_margin": rounded(min(margins), 4),
    }


def main() -> None:
    folder = models_folder() / MODEL
    deterministic(SEED)
    golden = {
        "made_by": "tests/goldens/vs_llama_cpp.py",
        "llama_cpp_python": llama_cpp.__version__,
        **tiny(),
        "smollm2": smollm2(folder / FILE),
    }
    write_golden(HERE / "vs_llama_cpp.json", golden)


if __name__ == "__main__":
    main()
