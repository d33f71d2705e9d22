"""Fetches Llama 3.1's own tokenizer and chat template, which the tests compare with.

usage: prepare-test-tokenizer [DIR]

DIR is the models folder, as for prepare-demo. Two folders appear in it:

    llama-3.1-tokenizer/      vocab.gguf and tokenizer.json: Meta's tokenizer.model in the two
                              forms that model files carry it in
    llama-3.1-chat-template/  llama3_1.jinja: the official template of Llama 3.1 Instruct

Both are under the Llama 3.1 Community License, so they are fetched and not part of this project.
Only the tests need them.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import prepare_demo
from prepare_demo import Model, Source

# tokenizer.py of llama-models, with the names that tokenizer.json of Llama 3.1 has for the ids.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NAMED = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    4: "<|finetune_right_pad_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
}
SPECIAL = 256

# GGUF: types of values and of tokens.
UINT32, INT32, STRING, ARRAY = 4, 5, 8, 9
NORMAL, CONTROL = 1, 3


def convert(source: Path, folder: Path) -> None:
    """tokenizer.model holds `base64(bytes) rank` lines; a token's rank is its id."""
    prepare_demo.say("converting the tokenizer (a few seconds)")
    lines = source.read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    letters = byte_letters()

    def text(token: bytes) -> str:
        return "".join(map(letters.__getitem__, token))

    ordinary = [text(token) for token in sorted(ranks, key=ranks.__getitem__)]
    merges = [(text(left), text(right)) for left, right in merges_of(ranks)]
    special = special_tokens()
    write_gguf(folder / "vocab.gguf", ordinary, special, merges)
    write_json(folder / "tokenizer.json", ordinary, special, merges)


def byte_letters() -> list[str]:
    """The letter that stands for each byte in byte-level BPE (GPT-2's `bytes_to_unicode`)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    stand_in = {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [stand_in.get(byte, chr(byte)) for byte in range(256)]


def merges_of(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Every pair of tokens whose union is a token, by its rank: what transformers makes of
    tiktoken files (`TikTokenConverter`), and the merges in tokenizer.json of Llama 3.1."""
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        pairs = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        found = [(left, right) for left, right in pairs if left in ranks and right in ranks]
        merges += sorted(found, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return merges


def special_tokens() -> list[str]:
    names, reserved = [], 0
    for n in range(SPECIAL):
        if n in NAMED:
            names.append(NAMED[n])
        else:
            names.append(f"<|reserved_special_token_{reserved}|>")
            reserved += 1
    return names


def write_gguf(path: Path, ordinary: list[str], special: list[str], merges: list) -> None:
    """The header of a GGUF file with a vocabulary and no tensors, as llama.cpp's converter."""

    def string(value: str) -> bytes:
        encoded = value.encode()
        return struct.pack("<Q", len(encoded)) + encoded

    def array(kind: int, items: list[bytes]) -> bytes:
        return struct.pack("<IIQ", ARRAY, kind, len(items)) + b"".join(items)

    def number(value: int) -> bytes:
        return struct.pack("<II", UINT32, value)

    def text(value: str) -> bytes:
        return struct.pack("<I", STRING) + string(value)

    kinds = [NORMAL] * len(ordinary) + [CONTROL] * len(special)
    metadata = {
        "general.architecture": text("llama"),
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("llama-bpe"),
        "tokenizer.ggml.tokens": array(STRING, [string(token) for token in ordinary + special]),
        "tokenizer.ggml.token_type": array(INT32, [struct.pack("<i", kind) for kind in kinds]),
        "tokenizer.ggml.merges": array(STRING, [string(" ".join(pair)) for pair in merges]),
        "tokenizer.ggml.bos_token_id": number(len(ordinary) + special.index(NAMED[0])),
        "tokenizer.ggml.eos_token_id": number(len(ordinary) + special.index(NAMED[9])),
    }
    tensors = 0
    header = struct.pack("<4sIQQ", b"GGUF", 3, tensors, len(metadata))
    path.write_bytes(header + b"".join(string(key) + value for key, value in metadata.items()))


def write_json(path: Path, ordinary: list[str], special: list[str], merges: list) -> None:
    """tokenizer.json as Hugging Face has it."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    begin = special[0]
    added = [
        {
            "id": len(ordinary) + n,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for n, token in enumerate(special)
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": PATTERN},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {**byte_level, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": begin, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": begin, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": begin, "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {begin: {"id": begin, "ids": [len(ordinary)], "tokens": [begin]}},
        },
        "decoder": {**byte_level, "add_prefix_space": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {token: id for id, token in enumerate(ordinary)},
            "merges": [" ".join(pair) for pair in merges],
        },
    }
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")


def move(source: Path, folder: Path) -> None:
    source.rename(folder / source.name)


MODELS = [
    Model(
        folder="llama-3.1-tokenizer",
        source=Source(
            registry="PyPI",
            package="llama-models",
            version="0.3.0",
            file="llama_models/llama3/tokenizer.model",
            sha256="82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
        ),
        source_size=2_183_982,
        wheel_mb=7,
        licence="Llama 3.1 Community License",
        upstream="meta-llama/Llama-3.1-8B-Instruct",
        build=convert,
    ),
    Model(
        folder="llama-3.1-chat-template",
        source=Source(
            registry="PyPI",
            package="trl",
            version="1.16.0",
            file="trl/chat_templates/llama3_1.jinja",
            sha256="e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65",
        ),
        source_size=4_614,
        wheel_mb=1,
        licence="Llama 3.1 Community License",
        upstream="meta-llama/Llama-3.1-8B-Instruct",
        build=move,
    ),
]


if __name__ == "__main__":
    prepare_demo.main(MODELS, __doc__)
