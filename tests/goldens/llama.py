"""Writes tiny-llama/ and llama.json: a random Llama with Llama 3.1's RoPE scaling.

usage: python tests/goldens/llama.py

tiny-llama/ holds one model three times:

    config.json, model.safetensors, …  as Hugging Face publishes Llama 3.1 (float32)
    model.gguf                         as llama.cpp's converter writes it (F32)
    tied.gguf                          the same without output.weight, as for tied embeddings

llama.json has, from transformers in float32: a conversation as the chat template renders it and
its token ids, the logits at some of its positions, and the tokens that greedy decoding adds.
`long` has the logits at positions beyond 8,192 of a longer text: token i is `(i * i + 7 * i) % 376`.
`tied` is the same with the embedding as the output matrix: the Hugging Face folder gives it
when `tie_word_embeddings` in its config.json is set to true.

The scaling is chosen so that it matters: it starts from a context of 64 positions, of which the
prompt has several times as many. The script fails if the logits are too alike without scaling,
or if any greedy step is close to a tie.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from common import HERE, deterministic, rounded, write_golden

FOLDER = HERE / "tiny-llama"
POSITIONS = [0, 100, 300]  # and the last
LONG_POSITIONS = [8200, 9000]
GREEDY = 64
MARGIN = 0.03  # between the best two logits of every greedy step
SEED = 5

ROPE_SCALING = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 64,
    "rope_type": "llama3",
}
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 376,
    "eos_token_id": [377, 380, 381],
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 128,
    "max_position_embeddings": 16384,
    "mlp_bias": False,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": ROPE_SCALING,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": 384,
}

# As in Llama 3, the special tokens follow the ordinary ones.
SPECIAL = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|finetune_right_pad_id|>",
    "<|python_tag|>",
]
BOS, END_OF_TURN = SPECIAL[0], SPECIAL[5]
SPLIT = (  # Llama 3's pre-tokenizer
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = (
    "{{- bos_token }}\n"
    "{%- for message in messages %}\n"
    "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}\n"
    "    {{- message['content'] | trim + '<|eot_id|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n"
    "{%- endif %}\n"
)

MESSAGES = [
    {
        "role": "system",
        "content": "Answer from the passages only, in the language of the question. "
        "Cite each claim with the number of its passage, such as [1].",
    },
    {
        "role": "user",
        "content": "[1] Xử lý ngôn ngữ tự nhiên (NLP) nghiên cứu cách máy tính hiểu tiếng người.\n"
        "[2] Natural language processing began in the 1950s; it's older than you'd think.\n"
        "[3] Dịch máy, tóm tắt và trả lời câu hỏi là ba ứng dụng được dùng nhiều nhất hiện nay.\n"
        "[4] 自然言語処理 means NLP in Japanese.\n\n"
        "  NLP là gì?  ",
    },
]
TRAINING = [  # for the tokenizer's few merges
    "Xử lý ngôn ngữ tự nhiên nghiên cứu cách máy tính đọc, hiểu và viết tiếng nói của con người.",
    "Tiếng Việt có sáu thanh điệu, và khoảng trắng ngăn cách các âm tiết chứ không phải các từ.",
    "Natural language processing studies how computers read, understand and write language.",
    "The system finds the passages that answer the question, and the answer cites the passages.",
]


def train_tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer built as Llama 3's is, with a tiny vocabulary."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"] - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BOS} $A",
                pair=f"{BOS} $A {BOS}:1 $B:1",
                special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
            ),
        ]
    )
    assert tokenizer.get_vocab_size() == CONFIG["vocab_size"]
    assert tokenizer.token_to_id(BOS) == CONFIG["bos_token_id"]
    assert tokenizer.token_to_id(END_OF_TURN) in CONFIG["eos_token_id"]
    return tokenizer


def config(**changes) -> LlamaConfig:
    return LlamaConfig(**copy.deepcopy({**CONFIG, **changes}))  # it edits what it is given


def random_weights(**changes) -> dict[str, torch.Tensor]:
    """Weights large enough that attention picks positions and the logits are far from flat."""
    shape = LlamaForCausalLM(config(**changes)).state_dict()
    weights = {}
    for name, tensor in shape.items():
        noise = torch.randn(tensor.shape)
        if name.endswith("norm.weight"):
            weights[name] = 1 + 0.2 * noise
        elif name in ("model.embed_tokens.weight", "lm_head.weight"):
            weights[name] = 0.5 * noise
        else:
            weights[name] = 1.5 * noise / math.sqrt(tensor.shape[1])
    return weights


def build(weights: dict[str, torch.Tensor], **changes) -> LlamaForCausalLM:
    model = LlamaForCausalLM(config(**changes))
    if model.config.tie_word_embeddings:
        weights = {**weights, "lm_head.weight": weights["model.embed_tokens.weight"]}
    model.load_state_dict(weights)
    return model.eval()


def long_logits(model: LlamaForCausalLM) -> list[dict]:
    ids = [(i * i + 7 * i) % CONFIG["bos_token_id"] for i in range(LONG_POSITIONS[-1] + 1)]
    hidden = model.model(torch.tensor([ids])).last_hidden_state[0]
    logits = [model.lm_head(hidden[position]) for position in LONG_POSITIONS]
    return [
        {"position": p, "logits": rounded(values, 5)} for p, values in zip(LONG_POSITIONS, logits)
    ]


def golden_of(model: LlamaForCausalLM, prompt: list[int]) -> dict:
    logits = model(torch.tensor([prompt])).logits[0]
    ids, margins = list(prompt), []
    for _ in range(GREEDY):
        last = model(torch.tensor([ids])).logits[0, -1]
        best = last.topk(2)
        ids.append(best.indices[0].item())
        margins.append((best.values[0] - best.values[1]).item())
    positions = [*POSITIONS, len(prompt) - 1]
    assert min(margins) > MARGIN, f"a greedy step is nearly a tie: {min(margins)}"
    return {
        "logits": [{"position": p, "logits": rounded(logits[p], 5)} for p in positions],
        "greedy": ids[len(prompt) :],
        "smallest_margin": rounded(min(margins), 5),
    }


def rope_factors(head_dim: int) -> np.ndarray:
    """rope_freqs.weight: what each frequency is divided by, as in llama.cpp's converter."""
    low, high = ROPE_SCALING["low_freq_factor"], ROPE_SCALING["high_freq_factor"]
    factor, context = ROPE_SCALING["factor"], ROPE_SCALING["original_max_position_embeddings"]
    factors = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * CONFIG["rope_theta"] ** (i / head_dim)
        if wavelength < context / high:
            factors.append(1.0)
        elif wavelength > context / low:
            factors.append(factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the rows of a q or k projection from RoPE over halves to RoPE over neighbours.

    The `llama` architecture of GGUF rotates rows 2i and 2i + 1 of a head together, Hugging
    Face rows i and i + head_dim / 2.
    """
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def as_float32(name: str, values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
    return values, gguf.GGMLQuantizationType.F32


def write_gguf(
    path: Path,
    weights: dict[str, torch.Tensor],
    tokenizer: Tokenizer,
    quantize: Callable[[str, np.ndarray], tuple[np.ndarray, gguf.GGMLQuantizationType]] = as_float32,
    **changes,
) -> None:
    """`quantize` gives a tensor's bytes and type, by its GGUF name and values."""
    config = {**CONFIG, **changes}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny Llama")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])

    model = json.loads(tokenizer.to_str())["model"]
    tokens = [tokenizer.id_to_token(id) for id in range(config["vocab_size"])]
    kinds = [gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(tokenizer.token_to_id(BOS))
    writer.add_eos_token_id(tokenizer.token_to_id(END_OF_TURN))
    writer.add_chat_template(TEMPLATE)

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    writer.add_tensor("rope_freqs.weight", rope_factors(config["head_dim"]))
    for name, tensor in weights.items():
        values = tensor.numpy()
        if name.endswith("q_proj.weight"):
            values = interleaved(values, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            values = interleaved(values, config["num_key_value_heads"])
        name = names.get_name(name, try_suffixes=(".weight",))
        data, kind = quantize(name, values)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_json(name: str, value: dict) -> None:
    (FOLDER / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    deterministic(SEED)
    FOLDER.mkdir(exist_ok=True)
    tokenizer = train_tokenizer()
    weights = random_weights()

    tokenizer.save(str(FOLDER / "tokenizer.json"))
    save_file(weights, FOLDER / "model.safetensors", metadata={"format": "pt"})
    (FOLDER / "model.safetensors").chmod(0o644)
    write_json("config.json", CONFIG)
    write_json(
        "generation_config.json",
        {"bos_token_id": CONFIG["bos_token_id"], "eos_token_id": CONFIG["eos_token_id"]},
    )
    write_json(
        "tokenizer_config.json",
        {
            "bos_token": BOS,
            "eos_token": END_OF_TURN,
            "chat_template": TEMPLATE,
            "clean_up_tokenization_spaces": True,
            "model_max_length": CONFIG["max_position_embeddings"],
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    write_gguf(FOLDER / "model.gguf", weights, tokenizer)
    output = "lm_head.weight"
    tied = {name: tensor for name, tensor in weights.items() if name != output}
    write_gguf(FOLDER / "tied.gguf", tied, tokenizer)

    reader = PreTrainedTokenizerFast.from_pretrained(FOLDER)
    text = reader.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    prompt = reader(text, add_special_tokens=False)["input_ids"]
    assert len(prompt) > POSITIONS[-1]

    model = build(weights)
    plain = build(weights, rope_scaling=None)
    scaled = plain.model.rotary_emb.inv_freq / model.model.rotary_emb.inv_freq
    assert np.allclose(scaled, rope_factors(CONFIG["head_dim"]), rtol=1e-5)
    difference = (model(torch.tensor([prompt])).logits - plain(torch.tensor([prompt])).logits).abs()
    assert difference[0, POSITIONS[1]].max() > 1, "the scaling hardly changes the logits"

    write_golden(
        HERE / "llama.json",
        {
            "made_by": "tests/goldens/llama.py",
            "messages": MESSAGES,
            "prompt": text,
            "prompt_ids": prompt,
            **golden_of(model, prompt),
            "long": long_logits(model),
            "tied": golden_of(build(weights, tie_word_embeddings=True), prompt),
        },
    )


if __name__ == "__main__":
    main()
