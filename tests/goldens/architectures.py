"""Writes tiny-architectures/*.gguf and architectures.json: a random model of each architecture.

usage: python tests/goldens/architectures.py [--llama-cpp]

The models are made by transformers, in float32 with matrices that half precision holds exactly, and
written to GGUF as llama.cpp's converter writes them:

    qwen2    biases of queries, keys and values; byte-level BPE
    qwen3    norms of heads, heads wider than the hidden state divided among them; tied embeddings
    mistral  the architecture `llama`, with a SentencePiece tokenizer
    gemma3   windows in five of six layers, with another RoPE base, and linear scaling elsewhere; norms
             of heads and of what blocks add; GELU; scaled embeddings; SentencePiece without a space
             before text, and with tokens that text becomes before anything is joined
    phi3     LongRoPE, a window in all layers, joined tensors; SentencePiece, whose special tokens take
             the line break behind them
    phi4     a part of each head is rotated; tied embeddings; no scaling; byte-level BPE

architectures.json has for each, from transformers in float32: a conversation's token ids as the chat
template renders it, logits at some positions, and the tokens that greedy decoding adds; for phi3
also the logits of a context that is short enough for the other factors. The ids of hostile texts, and
a digest of those of the 1,000 lines of llama31_lines.txt, are there too.

The ids are those of the tokenizers library for byte-level BPE, and of sentencepiece's own code for the
others, whose special tokens the script puts in. It fails if what makes an architecture hardly changes
the logits, or if a greedy step is close to a tie.

--llama-cpp compares the files with llama.cpp instead (needs `pip install llama-cpp-python==0.3.36`, or
its library in LLAMA_CPP_LIB_PATH): logits, greedy tokens and token ids.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from common import HERE, deterministic, rounded, write_golden
from llama import MESSAGES, TRAINING, interleaved

LINES = (HERE / "llama31_lines.txt").read_text("utf-8").removesuffix("\n").split("\n")
FOLDER = HERE / "tiny-architectures"
POSITIONS = [0, 30, 100]  # and the last
GREEDY = 64
MARGIN = 0.03  # between the best two logits of every greedy step
CONTEXT = 1024
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": False,
}
# Of tokens, in sentencepiece's model; GGUF files have the same numbers.
CONTROL, USER_DEFINED = 3, 4

CHATML = (  # as Qwen's templates, which know whether to think
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
)
INST = (  # as Mistral 7B v0.3's, which has no system role
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + '[/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
TURNS = (  # as Gemma 3's, which puts the system message before the user's
    "{{ bos_token }}{%- set first = '' -%}{%- set rest = messages -%}"
    "{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + '\n\n' -%}"
    "{%- set rest = messages[1:] -%}{%- endif -%}{%- for message in rest -%}"
    "{{ '<start_of_turn>' + message['role'] + '\n' + (first if loop.first else '') }}"
    "{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
ENDS = (  # as Phi-3's, whose special tokens take the line break behind them
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
FOUR = (  # as Phi-4-mini's
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
HOSTILE = [
    "", " ", "a", "  two  spaces   three ", "\n", "\n\n", "a\n\n\nb", "\t\tx", "▁ ▁▁", "<0x41><0xFF>",
    "<s>[INST] x [/INST]</s><unk>", "<bos><start_of_turn>user\nx<end_of_turn>\n", "<|user|>\nx<|end|>",
    "<|im_start|>x<|im_end|><|endoftext|>", "<think>x</think>", "it's IT'S 12345 x_y//z",
    "🦀👩‍👩‍👧", "e\u0301 ế \u200b\ufeff", "ﬁ ½ ㌔", "a" * 300, " " * 70, "ba" * 90,
]  # fmt: skip
SYSTEM, USER = (message["content"].strip() for message in MESSAGES)


class BytePairs:
    """Byte-level BPE."""

    def __init__(self, pre, split, normalizer, special, defined, end, template) -> None:
        self.pre, self.special, self.defined, self.end = pre, special, defined, end
        self.template = template
        self.tokenizer = Tokenizer(models.BPE())
        if normalizer:
            self.tokenizer.normalizer = normalizer
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self.tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=320 - len(special + defined),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        self.tokenizer.train_from_iterator(TRAINING, trainer)
        self.tokenizer.add_special_tokens(special)
        self.tokenizer.add_tokens([AddedToken(t, normalized=False) for t in defined])
        self.size = self.tokenizer.get_vocab_size()

    def prompt(self) -> list[int]:
        reader = PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer, eos_token=self.end, chat_template=self.template
        )
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
        text = reader.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return reader(text, add_special_tokens=False)["input_ids"]

    def id(self, token: str) -> int | None:
        return self.tokenizer.token_to_id(token)

    def encode(self, text: str) -> list[int]:
        self.tokenizer.encode_special_tokens = True
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def write(self, writer: gguf.GGUFWriter) -> None:
        tokens = [self.tokenizer.id_to_token(id) for id in range(self.size)]
        kinds = {**dict.fromkeys(self.special, CONTROL), **dict.fromkeys(self.defined, USER_DEFINED)}
        merges = json.loads(self.tokenizer.to_str())["model"]["merges"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(tokens)
        writer.add_token_types([kinds.get(token, 1) for token in tokens])
        writer.add_token_merges([" ".join(pair) for pair in merges])
        writer.add_eos_token_id(self.tokenizer.token_to_id(self.end))
        writer.add_chat_template(self.template)


def qwen_tokenizer() -> BytePairs:
    split = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    defined = ["<think>", "</think>"]
    return BytePairs("qwen2", split, normalizers.NFC(), special, defined, "<|im_end|>", CHATML)


def phi_4_tokenizer() -> BytePairs:
    small, large = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
    before, after = r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    split = (
        rf"{before}{large}*{small}+{after}|{before}{large}+{small}*{after}|\p{{N}}{{1,3}}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    special = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    return BytePairs("gpt-4o", split, None, special, [], "<|endoftext|>", FOUR)


class Pieces:
    """A SentencePiece model; `prompt` lists texts, and special tokens in lists of one."""

    def __init__(self, special, bos, end, template, prefix: bool, prompt, defined=()) -> None:
        self.special, self.bos, self.end, self.template = special, bos, end, template
        self.prefix, self.parts, self.defined = prefix, prompt, defined
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TRAINING),
            model_writer=model,
            model_type="bpe",
            vocab_size=380,
            byte_fallback=True,
            character_coverage=0.98,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=prefix,
            bos_piece=bos,
            control_symbols=[token for token in special if token != bos],
            user_defined_symbols=list(defined),
            minloglevel=2,
        )
        self.model = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        self.size = self.model.vocab_size()

    def prompt(self) -> list[int]:
        ids = []
        for part in self.parts:
            if isinstance(part, list):
                ids.append(self.model.piece_to_id(part[0]))
            else:
                ids += self.model.encode(part)
        assert self.model.unk_id() not in ids
        return ids

    def encode(self, text: str) -> list[int]:
        return self.model.encode(text)

    def id(self, token: str) -> int:
        return self.model.piece_to_id(token)

    def write(self, writer: gguf.GGUFWriter) -> None:
        model, ids = self.model, range(self.size)

        def kind(id: int) -> int:
            if model.is_unknown(id):
                return 2
            if model.id_to_piece(id) in self.defined:
                return USER_DEFINED
            return CONTROL if model.is_control(id) else 6 if model.is_byte(id) else 1

        # As the converter writes tokens that are defined.
        text = lambda id: model.id_to_piece(id).replace("▁", " ") if kind(id) == USER_DEFINED else (
            model.id_to_piece(id))  # fmt: skip
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([text(id) for id in ids])
        writer.add_token_scores([model.get_score(id) for id in ids])
        writer.add_token_types([kind(id) for id in ids])
        writer.add_bos_token_id(model.piece_to_id(self.bos))
        writer.add_eos_token_id(model.piece_to_id(self.end))
        writer.add_unk_token_id(model.unk_id())
        writer.add_add_space_prefix(self.prefix)
        writer.add_chat_template(self.template)


def mistral_tokenizer() -> Pieces:
    # The template's space before the message is the one that a text is given.
    prompt = [["<s>"], ["[INST]"], f"{SYSTEM}\n\n{USER}", ["[/INST]"]]
    return Pieces(["<s>", "[INST]", "[/INST]"], "<s>", "</s>", INST, True, prompt)


def gemma_tokenizer() -> Pieces:
    prompt = [
        ["<bos>"], ["<start_of_turn>"], f"user\n{SYSTEM}\n\n{USER}", ["<end_of_turn>"], "\n",
        ["<start_of_turn>"], "model\n",
    ]  # fmt: skip
    special = ["<bos>", "<start_of_turn>", "<end_of_turn>"]
    defined = ["\n\n", "\n\n\n", "▁▁", "▁▁▁", "<b>", "</b>"]
    return Pieces(special, "<bos>", "<end_of_turn>", TURNS, False, prompt, defined)


def phi_tokenizer() -> Pieces:
    prompt = [["<|system|>"], SYSTEM, ["<|end|>"], ["<|user|>"], USER, ["<|end|>"], ["<|assistant|>"]]
    special = ["<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"]
    return Pieces(special, "<s>", "<|endoftext|>", ENDS, True, prompt)


@dataclass
class Case:
    architecture: gguf.MODEL_ARCH
    config: Callable
    tokenizer: Callable
    ends: list[str]  # tokens that end an answer
    changes: dict  # of the shape
    without: list[dict]  # changes of the configuration that must change the logits
    metadata: Callable[[gguf.GGUFWriter, object], None] = lambda writer, config: None
    tensors: Callable[[object], dict] = lambda config: {}
    norm_shift: float = 0.0
    extra: dict = field(default_factory=dict)


def long_rope(config) -> dict[str, np.ndarray]:
    rope = config.rope_parameters
    return {
        "rope_factors_long.weight": np.array(rope["long_factor"], np.float32),
        "rope_factors_short.weight": np.array(rope["short_factor"], np.float32),
    }


def phi3_metadata(writer: gguf.GGUFWriter, config) -> None:
    rope = config.rope_parameters
    heads = config.hidden_size // config.num_attention_heads
    original = rope.get("original_max_position_embeddings", config.max_position_embeddings)
    writer.add_rope_dimension_count(int(rope["partial_rotary_factor"] * heads))
    writer.add_sliding_window(config.sliding_window or 0)
    writer.add_rope_scaling_orig_ctx_len(original)
    if "long_factor" in rope:
        scale = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))


def gemma3_metadata(writer: gguf.GGUFWriter, config) -> None:
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_sliding_window(config.sliding_window)
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(config.rope_parameters["full_attention"]["factor"])


def gemma3_rope(factor: float = 8.0, local: float = 10_000.0) -> dict:
    return {
        "full_attention": {"rope_type": "linear", "factor": factor, "rope_theta": 1_000_000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": local},
    }


LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0,
    "original_max_position_embeddings": 64,
    "short_factor": [1.0, 1.1, 1.3, 1.6],
    "long_factor": [1.0, 1.5, 4.0, 9.0],
}
PARTIAL = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75}
CASES = {
    "qwen2": Case(
        gguf.MODEL_ARCH.QWEN2, Qwen2Config, qwen_tokenizer, ["<|im_end|>", "<|endoftext|>"],
        {"num_hidden_layers": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
        [{"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}],
    ),
    "qwen3": Case(
        gguf.MODEL_ARCH.QWEN3, Qwen3Config, qwen_tokenizer, ["<|im_end|>", "<|endoftext|>"],
        {"num_hidden_layers": 2, "head_dim": 16, "tie_word_embeddings": True,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
        [{"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}],
        lambda writer, config: (writer.add_key_length(16), writer.add_value_length(16)),
    ),
    "mistral": Case(
        gguf.MODEL_ARCH.LLAMA, MistralConfig, mistral_tokenizer, ["</s>"],
        {"num_hidden_layers": 2, "sliding_window": None, "head_dim": 8,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
        [{"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}],
        lambda writer, config: writer.add_rope_dimension_count(8),
    ),
    "gemma3": Case(
        gguf.MODEL_ARCH.GEMMA3, Gemma3TextConfig, gemma_tokenizer, ["<end_of_turn>"],
        {"num_hidden_layers": 7, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 20,
         "num_key_value_heads": 1, "tie_word_embeddings": True, "rope_parameters": gemma3_rope(),
         "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6},
        [{"sliding_window": 21}, {"rope_parameters": gemma3_rope(factor=1.0)},
         {"rope_parameters": gemma3_rope(local=1e6)}, {"query_pre_attn_scalar": 32},
         {"hidden_activation": "silu"}],
        gemma3_metadata, norm_shift=1.0,
    ),
    "phi3": Case(
        gguf.MODEL_ARCH.PHI3, Phi3Config, phi_tokenizer, ["<|end|>", "<|endoftext|>"],
        {"num_hidden_layers": 2, "sliding_window": 90, "rope_parameters": LONG, "pad_token_id": 0,
         "original_max_position_embeddings": 64},
        [{"sliding_window": None}, {"rope_parameters": {**LONG, "long_factor": [1.0] * 4}},
         {"max_position_embeddings": 64}],
        phi3_metadata, long_rope, extra={"short": 60},
    ),
    "phi4": Case(
        gguf.MODEL_ARCH.PHI3, Phi3Config, phi_4_tokenizer, ["<|end|>", "<|endoftext|>"],
        {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
         "sliding_window": None, "tie_word_embeddings": True,
         "rope_parameters": PARTIAL, "pad_token_id": 0},
        [{"rope_parameters": {**PARTIAL, "partial_rotary_factor": 1.0}}],
        phi3_metadata,
    ),
}  # fmt: skip


def build(case: Case, tokenizer, **more):
    changes = {**SHAPE, **case.changes, **more, "vocab_size": tokenizer.size}
    config = case.config(**json.loads(json.dumps(changes)), bos_token_id=None, eos_token_id=None)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval().float()


def randomize(model, case: Case) -> None:
    """Weights large enough that attention picks positions and the logits are far from flat."""
    for name, tensor in model.named_parameters():
        noise = torch.randn(tensor.shape)
        if name.endswith("norm.weight"):
            # Of what blocks add, more: scaled embeddings are large.
            mean = 2.5 if "post" in name and case.norm_shift else 1
            values = mean - case.norm_shift + 0.2 * noise
        elif name.endswith("bias"):
            values = 0.5 * noise
        elif tensor.shape[0] == model.config.vocab_size:
            values = (0.3 if case.norm_shift else 0.5) * noise
        else:
            values = 1.5 * noise / math.sqrt(tensor.shape[1])
        if tensor.dim() > 1:
            values = values.half().float()  # so that a file of halves holds them
        tensor.copy_(values)


def digest(ids: list[list[int]]) -> str:
    lines = (",".join(map(str, line)) + "\n" for line in ids)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def greedy(model, prompt: list[int]) -> tuple[list[int], float]:
    ids, margins = list(prompt), []
    for _ in range(GREEDY):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        ids.append(best.indices[0].item())
        margins.append((best.values[0] - best.values[1]).item())
        if margins[-1] < MARGIN:
            break
    return ids[len(prompt) :], min(margins)


def golden_of(name: str, case: Case, tokenizer) -> tuple[object, dict]:
    prompt = tokenizer.prompt()
    assert len(prompt) > POSITIONS[-1]
    # Where the program stops: these, and the end that SentencePiece's vocabularies have.
    ends = {tokenizer.id(end) for end in [*case.ends, "</s>"]}
    # The first seed without a step that is nearly a tie, and without the end of the answer.
    for seed in range(1, 200):
        torch.manual_seed(seed)
        model = build(case, tokenizer)
        randomize(model, case)
        tokens, margin = greedy(model, prompt)
        if margin > MARGIN and len(set(tokens)) > 10 and not ends & set(tokens):
            break
    else:
        raise SystemExit(f"{name}: every greedy text has a step that is nearly a tie")
    logits = model(torch.tensor([prompt])).logits[0]
    for changes in case.without:
        other = build(case, tokenizer, **changes)
        other.load_state_dict(model.state_dict())
        difference = (other(torch.tensor([prompt])).logits[0] - logits).abs().max().item()
        assert difference > 0.1, f"{name}: {changes} hardly changes the logits: {difference}"
    positions = [*POSITIONS, len(prompt) - 1]
    golden = {
        "name": name,
        "system": MESSAGES[0]["content"],
        "user": MESSAGES[1]["content"],
        "ends": case.ends,
        "prompt_ids": prompt,
        "texts": [{"text": text, "ids": tokenizer.encode(text)} for text in HOSTILE],
        "lines": digest([tokenizer.encode(line) for line in LINES]),
        "logits": [{"position": p, "logits": rounded(logits[p], 4)} for p in positions],
        "greedy": tokens,
        "smallest_margin": rounded(margin, 5),
        "seed": seed,
    }
    if "short" in case.extra:
        context = case.extra["short"]
        last = model(torch.tensor([prompt[:context]])).logits[0, -1]
        golden["short"] = {"position": context - 1, "logits": rounded(last, 4)}
    return model, golden


def write_gguf(path: Path, case: Case, tokenizer, model) -> None:
    config = model.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[case.architecture])
    writer.add_name(f"Tiny {path.stem}" if path.stem != "phi3" else "Tiny Phi-3")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    case.metadata(writer, config)
    tokenizer.write(writer)
    names = gguf.get_tensor_name_map(case.architecture, config.num_hidden_layers)
    for name, values in case.tensors(config).items():
        writer.add_tensor(name, values)
    for name, tensor in model.named_parameters():
        values = tensor.numpy()
        if name.endswith("norm.weight"):
            values = values + np.float32(case.norm_shift)
        if case.architecture == gguf.MODEL_ARCH.LLAMA and "q_proj" in name:
            values = interleaved(values, config.num_attention_heads)
        elif case.architecture == gguf.MODEL_ARCH.LLAMA and "k_proj" in name:
            values = interleaved(values, config.num_key_value_heads)
        dtype = np.float16 if values.ndim > 1 else np.float32
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), values.astype(dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare_with_llama_cpp() -> None:
    """Prints how far llama.cpp's logits are off, and whether its tokens are equal."""
    import llama_cpp

    for golden in json.loads((HERE / "architectures.json").read_text("utf-8"))["models"]:
        name, prompt = golden["name"], golden["prompt_ids"]
        llm = llama_cpp.Llama(
            str(FOLDER / f"{name}.gguf"), n_ctx=CONTEXT, n_threads=2, logits_all=True, verbose=False
        )
        llm.eval(prompt)
        off = max(
            np.abs(llm.scores[entry["position"]] - np.array(entry["logits"])).max()
            for entry in golden["logits"]
        )
        tokens = []
        for _ in range(GREEDY):
            tokens.append(int(llm.scores[llm.n_tokens - 1].argmax()))
            llm.eval(tokens[-1:])
        text = llm.tokenize(USER.encode(), add_bos=False, special=False)
        start = next(i for i in range(len(prompt)) if prompt[i : i + len(text)] == text) if any(
            prompt[i : i + len(text)] == text for i in range(len(prompt))) else None
        print(f"{name}: logits off by {off:.4f}, {GREEDY} greedy tokens "
              f"{'equal' if tokens == golden['greedy'] else 'differ'}, question's ids "
              f"{'equal' if start is not None else 'differ'}")  # fmt: skip


def main() -> None:
    if sys.argv[1:] == ["--llama-cpp"]:
        return compare_with_llama_cpp()
    deterministic()
    FOLDER.mkdir(exist_ok=True)
    goldens = []
    for name, case in CASES.items():
        tokenizer = case.tokenizer()
        model, golden = golden_of(name, case, tokenizer)
        write_gguf(FOLDER / f"{name}.gguf", case, tokenizer, model)
        goldens.append(golden)
        size = (FOLDER / f"{name}.gguf").stat().st_size
        print(f"{name}: seed {golden['seed']}, {len(golden['prompt_ids'])} tokens, {size} bytes",
              file=sys.stderr)  # fmt: skip
    write_golden(
        HERE / "architectures.json",
        {"made_by": "tests/goldens/architectures.py", "models": goldens},
    )


if __name__ == "__main__":
    main()
