"""Writes tiny-architectures/*-q4_k_m.gguf and architectures_quantized.json: quantized models.

usage: python tests/goldens/architectures_quantized.py

needs, beside the other scripts' packages, llama.cpp: `pip install llama-cpp-python==0.3.36` (it
compiles for some minutes; LLAMA_CPP_LIB_PATH names a folder with its libraries built elsewhere).

The models are random ones of the kinds in architectures.py, with matrices as wide as the blocks of
K-quants, and a context long enough for the prompts of the program. llama.cpp's own `llama-quantize`
makes Q4_K_M of them.

architectures_quantized.json has for each the token ids of a conversation, the logits of transformers
in float32 with the numbers that numpy code of the package gguf reads from the file (`exact`), and how
far llama.cpp is off them at most over the whole text (`noise`): it rounds activations to 8 bits. Then
the tokens that greedy decoding adds, up to the first step at which rounding might decide.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import torch

from architectures import CASES, FOLDER, Case, build, randomize, write_gguf
from common import HERE, deterministic, rounded, write_golden

WIDE = {
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
CHANGES = {
    "qwen3": {"head_dim": 64, "tie_word_embeddings": False},
    "gemma3": {"head_dim": 64, "query_pre_attn_scalar": 64, "num_hidden_layers": 6},
    "phi3": {"sliding_window": None, "original_max_position_embeddings": 4096},
}
CALM = 0.3  # of what layers multiply with: rounding errors are amplified less
LOUD = 4  # of what Gemma's blocks add: its embeddings, which are its output too, drown the rest
MOST = 64  # greedy tokens
LEAST = {"qwen3": 6, "gemma3": 0, "phi3": 6}  # that are clear and differ; Gemma's are too near


def wide(name: str) -> Case:
    case = CASES[name]
    changes = {**case.changes, **WIDE, **CHANGES[name]}
    if name == "phi3":  # of which a part of each head is rotated, as in Phi-4-mini
        changes["rope_parameters"] = {
            "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75
        }  # fmt: skip
        return replace(case, changes=changes, tensors=lambda config: {})
    if name == "qwen3":
        metadata = lambda writer, config: (writer.add_key_length(64), writer.add_value_length(64))
        return replace(case, changes=changes, metadata=metadata)
    return replace(case, changes=changes)


def quantized(whole: Path, path: Path) -> None:
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
    parameters.nthread = 1
    assert llama_cpp.llama_model_quantize(str(whole).encode(), str(path).encode(), parameters) == 0


def read_back(path: Path, case: Case, model) -> None:
    """Gives the model the numbers in the file."""
    tensors = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    names = gguf.get_tensor_name_map(case.architecture, model.config.num_hidden_layers)
    for name, tensor in model.named_parameters():
        values = torch.from_numpy(tensors[names.get_name(name, (".weight", ".bias"))].copy())
        tensor.copy_(values - case.norm_shift if name.endswith("norm.weight") else values)


def golden_of(name: str) -> dict:
    """Of the first seed whose text is clear enough, and no loop."""
    case = wide(name)
    tokenizer = case.tokenizer()
    for seed in range(1, 100):
        golden = golden_of_seed(name, case, tokenizer, seed)
        if len(set(golden["greedy"])) >= LEAST[name]:
            return golden
    raise SystemExit(f"{name}: no seed gives a clear text")


def golden_of_seed(name: str, case: Case, tokenizer, seed: int) -> dict:
    prompt = tokenizer.prompt()
    torch.manual_seed(seed)
    model = build(case, tokenizer)
    randomize(model, case)
    for part, tensor in model.named_parameters():
        if tensor.dim() > 1 and tensor.shape[0] != model.config.vocab_size:
            tensor.mul_(CALM)
        elif "post" in part and case.norm_shift:
            tensor.mul_(LOUD)
    path = FOLDER / f"{name}-q4_k_m.gguf"
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"{name}.gguf"
        write_gguf(whole, case, tokenizer, model)
        quantized(whole, path)
    read_back(path, case, model)
    kinds = {t.tensor_type.name for t in gguf.GGUFReader(path).tensors}
    assert {"Q4_K", "Q6_K"} <= kinds, kinds
    exact = model(torch.tensor([prompt])).logits[0]
    llm = llama_cpp.Llama(str(path), n_ctx=4096, n_threads=1, logits_all=True, verbose=False)
    llm.eval(prompt)
    noise = np.abs(llm.scores[: len(prompt)] - exact.numpy()).max().item()
    for changes in [] if name == "phi3" else case.without:
        other = build(case, tokenizer, **changes)
        other.load_state_dict(model.state_dict())
        difference = (other(torch.tensor([prompt])).logits[0] - exact).abs().max().item()
        assert difference > 2 * noise, f"{name}: {changes} hardly changes the logits: {difference}"
    ends = {tokenizer.id(end) for end in [*case.ends, "</s>"]}
    ids = list(prompt)
    for _ in range(MOST):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        is_unclear = (best.values[0] - best.values[1]).item() < 3 * noise
        if is_unclear or best.indices[0].item() in ends:
            break
        ids.append(best.indices[0].item())
    greedy = ids[len(prompt) :]
    positions = [0, 100, len(prompt) - 1]
    size, spread = path.stat().st_size, exact.std().item()
    print(f"{name}: seed {seed}, {size} bytes, noise {noise:.3f}, spread {spread:.2f}, "
          f"{len(greedy)} clear tokens, {len(set(greedy))} distinct", file=sys.stderr)  # fmt: skip
    return {
        "name": path.stem,
        "prompt_ids": prompt,
        "exact": [{"position": p, "logits": rounded(exact[p], 4)} for p in positions],
        "noise": rounded(noise, 4),
        "greedy": greedy,
    }


def main() -> None:
    deterministic()
    golden = {
        "made_by": "tests/goldens/architectures_quantized.py",
        "models": [golden_of(name) for name in CHANGES],
    }
    write_golden(HERE / "architectures_quantized.json", golden)


if __name__ == "__main__":
    main()
