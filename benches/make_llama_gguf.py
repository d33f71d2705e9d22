#!/usr/bin/env python3
"""Writes a GGUF file with random weights, of the Llama or Qwen3 architecture, in the mix of Q4_K_M.

    make_llama_gguf.py --shape 8b out.gguf     # Llama 3.1 8B, 4.9 GB
    make_llama_gguf.py --shape 1b out.gguf     # Llama 3.2 1B, 0.95 GB
    make_llama_gguf.py --shape qwen3-1.7b out.gguf   # Qwen3 1.7B, 1.2 GB
    make_llama_gguf.py --shape tiny out.gguf   # for trying it out
    make_llama_gguf.py --shape tiny128 --weights bf16 out.gguf   # heads as those of the 8B model
    make_llama_gguf.py --shape 8b --layers 2 out.gguf            # only the first layers
    make_llama_gguf.py --architecture qwen3 out.gguf             # with norms of heads

Shapes, types and bytes of the tensors are those of the real model, so that loading, memory, prefill
and decode are measured honestly; its text is noise. The vocabulary has the real size, too, with one
merge a token, the special tokens of Llama 3, and its chat template's form. Needs Python 3.9 or
newer and nothing else: it also runs on a GPU machine that has no network.
"""
import argparse
import array as arrays
import itertools
import math
import random
import struct

# hidden, layers, heads, kv_heads, feed_forward, vocabulary, head_dim, factor of rope_scaling
SHAPES = {
    "8b": (4096, 32, 32, 8, 14336, 128256, 128, 8.0),
    "1b": (2048, 16, 32, 8, 8192, 128256, 64, 32.0),
    # Their embeddings are their output matrix.
    "qwen3-0.6b": (1024, 28, 16, 8, 3072, 151936, 128, 1.0),
    "qwen3-1.7b": (2048, 28, 16, 8, 6144, 151936, 128, 1.0),
    "tiny": (256, 2, 4, 2, 512, 512, 64, 8.0),
    "tiny128": (512, 2, 8, 2, 1024, 512, 128, 8.0),
}
CONTEXT, ROPE_BASE = 131072, 500000.0
QWEN3_CONTEXT, QWEN3_ROPE_BASE = 40960, 1000000.0
# ggml's numbers for types of tensors, and GGUF's for types of metadata.
F32, F16, Q4_K, Q6_K, BF16 = 0, 1, 12, 14, 30
# Unquantized weights: ggml's numbers of the type and of such a file.
WHOLE = {"f32": (F32, 0), "f16": (F16, 1), "bf16": (BF16, 32)}
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
BLOCK_BYTES = {Q4_K: 144, Q6_K: 210}  # of 256 weights
ALIGNMENT = 32
BLOCKS_AT_ONCE = 1 << 16
NORMAL, CONTROL = 1, 3
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
           "<|eom_id|>", "<|eot_id|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)


def byte_alphabet():
    """GPT-2's printable characters for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def vocabulary(size):
    """Tokens, their kinds, and merges: the bytes, all words of 2, 3 ... letters, special tokens."""
    specials = SPECIAL + [f"<|reserved_special_token_{i}|>" for i in range(min(250, size // 32))]
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = (
        "".join(word)
        for length in itertools.count(2)
        for word in itertools.product(letters, repeat=length)
    )
    words = list(itertools.islice(words, size - 256 - len(specials)))
    tokens = byte_alphabet() + words + specials
    kinds = [NORMAL] * (256 + len(words)) + [CONTROL] * len(specials)
    return tokens, kinds, [f"{word[:-1]} {word[-1]}" for word in words]


def rope_divisors(head_dim, factor, low=1.0, high=4.0, old_context=8192):
    """The published rule of rope_scaling "llama3", as converters store it."""
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * ROPE_BASE ** (i / head_dim)
        if wavelength < old_context / high:
            yield 1.0
        elif wavelength > old_context / low:
            yield factor
        else:
            smooth = (old_context / wavelength - low) / (high - low)
            yield 1.0 / ((1 - smooth) / factor + smooth)


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    if kind == STRING:
        return string(content)
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f"}[kind], content)


def array(kind, items):
    return struct.pack("<IQ", kind, len(items)) + b"".join(value(kind, item) for item in items)


def architecture_of(shape):
    """Of the models that have such shapes."""
    return "qwen3" if shape.startswith("qwen3") else "llama"


def metadata(shape, name, file_type, architecture):
    hidden, layers, heads, kv_heads, feed_forward, size, head_dim, _ = shape
    tokens, kinds, merges = vocabulary(size)
    assert len(tokens) == len(set(tokens)) == size
    is_qwen = architecture_of(name) == "qwen3"
    scalars = [
        ("general.architecture", STRING, architecture),
        ("general.name", STRING, f"random-llama-{name}" if not is_qwen else f"random-{name}"),
        ("general.file_type", UINT32, file_type),
        ("general.quantization_version", UINT32, 2),
        ("general.alignment", UINT32, ALIGNMENT),
        (f"{architecture}.context_length", UINT32, QWEN3_CONTEXT if is_qwen else CONTEXT),
        (f"{architecture}.embedding_length", UINT32, hidden),
        (f"{architecture}.block_count", UINT32, layers),
        (f"{architecture}.feed_forward_length", UINT32, feed_forward),
        (f"{architecture}.attention.head_count", UINT32, heads),
        (f"{architecture}.attention.head_count_kv", UINT32, kv_heads),
        (f"{architecture}.attention.key_length", UINT32, head_dim),
        (f"{architecture}.attention.value_length", UINT32, head_dim),
        (f"{architecture}.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5),
        (f"{architecture}.rope.dimension_count", UINT32, head_dim),
        (f"{architecture}.rope.freq_base", FLOAT32, QWEN3_ROPE_BASE if is_qwen else ROPE_BASE),
        (f"{architecture}.vocab_size", UINT32, size),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "llama-bpe"),
        ("tokenizer.ggml.bos_token_id", UINT32, tokens.index("<|begin_of_text|>")),
        ("tokenizer.ggml.eos_token_id", UINT32, tokens.index("<|eot_id|>")),
        ("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]
    entries = [
        string(key) + struct.pack("<I", kind) + value(kind, content)
        for key, kind, content in scalars
    ]
    for key, kind, items in [
        ("tokenizer.ggml.tokens", STRING, tokens),
        ("tokenizer.ggml.token_type", INT32, kinds),
        ("tokenizer.ggml.merges", STRING, merges),
    ]:
        entries.append(string(key) + struct.pack("<I", ARRAY) + array(kind, items))
    return entries


def tensors(shape, architecture, is_qwen):
    """(name, rows, columns, type); one row means a vector."""
    hidden, layers, heads, kv_heads, feed_forward, size, head_dim, _ = shape
    yield "token_embd.weight", size, hidden, Q6_K if is_qwen else Q4_K
    yield "output_norm.weight", 1, hidden, F32
    if not is_qwen:
        yield "output.weight", size, hidden, Q6_K
        yield "rope_freqs.weight", 1, head_dim // 2, F32
    for i in range(layers):
        # The recipe of Q4_K_M: more bits for V and the way down in the first and last eighth of the
        # layers and in every third between.
        eighth = layers // 8
        more = i < eighth or i >= 7 * layers // 8 or (i - eighth) % 3 == 2
        mixed = Q6_K if more else Q4_K
        for name, rows, columns, kind in [
            ("attn_q", heads * head_dim, hidden, Q4_K),
            ("attn_k", kv_heads * head_dim, hidden, Q4_K),
            ("attn_v", kv_heads * head_dim, hidden, mixed),
            ("attn_output", hidden, heads * head_dim, Q4_K),
            ("ffn_gate", feed_forward, hidden, Q4_K),
            ("ffn_up", feed_forward, hidden, Q4_K),
            ("ffn_down", hidden, feed_forward, mixed),
            ("attn_norm", 1, hidden, F32),
            ("ffn_norm", 1, hidden, F32),
        ]:
            yield f"blk.{i}.{name}.weight", rows, columns, kind
        if architecture == "qwen2":
            for name, values in [("q", heads * head_dim), ("k", kv_heads * head_dim),
                                 ("v", kv_heads * head_dim)]:
                yield f"blk.{i}.attn_{name}.bias", 1, values, F32
        if architecture == "qwen3":
            for name in ["attn_q_norm", "attn_k_norm"]:
                yield f"blk.{i}.{name}.weight", 1, head_dim, F32


def bytes_of(rows, columns, kind):
    if kind in BLOCK_BYTES:
        return rows * columns // 256 * BLOCK_BYTES[kind]
    return rows * columns * (4 if kind == F32 else 2)


def random_numbers(rng, rows, columns, kind):
    """Rows of normal numbers with a deviation of 1/sqrt(columns), cut from one long pool."""
    pool = [rng.gauss(0, 1 / math.sqrt(columns)) for _ in range(1 << 16)]
    if kind == F16:
        data = struct.pack(f"<{len(pool)}e", *pool)
    else:
        data = arrays.array("f", pool).tobytes()
        if kind == BF16:
            data = b"".join(data[i + 2:i + 4] for i in range(0, len(data), 4))
    size = len(data) // len(pool)
    for _ in range(rows):
        start = rng.randrange(len(pool) - columns) * size
        yield data[start:start + columns * size]


def random_blocks(rng, blocks, columns, kind):
    """Random bits, with scales that give weights a deviation of about 1/sqrt(columns)."""
    deviation = 1 / math.sqrt(columns)
    if kind == Q4_K:
        # scale and minimum, such that values centre on 0
        at, scales = 0, struct.pack("<ee", deviation / 255, deviation / 255 * 7.5)
    else:
        at, scales = 208, struct.pack("<e", deviation / 1400)
    size = BLOCK_BYTES[kind]
    while blocks > 0:
        count = min(blocks, BLOCKS_AT_ONCE)
        data = bytearray(rng.randbytes(count * size))
        for i, byte in enumerate(scales):
            data[at + i::size] = bytes([byte]) * count
        yield data
        blocks -= count


def write(path, name, layers, weights, seed, architecture):
    rng = random.Random(seed)
    shape = list(SHAPES[name])
    shape[1] = layers or shape[1]
    head_dim, factor = shape[6:]
    whole, file_type = WHOLE.get(weights, (None, 15))  # 15: mostly Q4_K_M
    layout, offset = [], 0
    is_qwen = architecture_of(name) == "qwen3"
    for tensor, rows, columns, kind in tensors(shape, architecture, is_qwen):
        kind = whole if whole is not None and rows > 1 else kind
        layout.append((tensor, rows, columns, kind, offset))
        offset += -(-bytes_of(rows, columns, kind) // ALIGNMENT) * ALIGNMENT
    entries = metadata(shape, name, file_type, architecture)
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(layout), len(entries)))
        file.writelines(entries)
        for tensor, rows, columns, kind, at in layout:
            dims = [columns] if rows == 1 else [columns, rows]
            file.write(string(tensor) + struct.pack("<I", len(dims)))
            file.write(struct.pack(f"<{len(dims)}QIQ", *dims, kind, at))
        file.write(bytes(-file.tell() % ALIGNMENT))
        for tensor, rows, columns, kind, _ in layout:
            if kind in BLOCK_BYTES:
                file.writelines(random_blocks(rng, rows * columns // 256, columns, kind))
            elif rows > 1:
                file.writelines(random_numbers(rng, rows, columns, kind))
            else:
                rope = tensor == "rope_freqs.weight"
                values = rope_divisors(head_dim, factor) if rope else [1.0] * columns
                file.write(struct.pack(f"<{columns}f", *values))
            file.write(bytes(-bytes_of(rows, columns, kind) % ALIGNMENT))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--layers", type=int, help="fewer than the shape has")
    parser.add_argument("--weights", choices=["q4_k_m", *WHOLE], default="q4_k_m")
    parser.add_argument("--architecture", choices=["llama", "qwen2", "qwen3"],
                        help="another than that of models with such shapes")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    architecture = args.architecture or architecture_of(args.shape)
    write(args.out, args.shape, args.layers, args.weights, args.seed, architecture)


main()
