"""What the golden scripts share: their argument, their determinism, their JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent


def models_folder() -> Path:
    """The folder that `models/prepare-demo` filled: the script's only argument."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(f"usage: python {sys.argv[0]} MODELS_DIR")
    return Path(sys.argv[1])


def deterministic(seed: int = 1) -> None:
    """The same random weights, and sums in the same order, in every run."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)


def rounded(values, digits: int = 6) -> list:
    """A tensor as nested lists of decimal numbers."""
    if isinstance(values, torch.Tensor):
        values = values.tolist()
    if isinstance(values, list):
        return [rounded(value, digits) for value in values]
    return round(values, digits)


def write_golden(path: Path, golden: dict) -> None:
    """Writes JSON with one line per field, and one per element of a list of objects."""

    def line(value) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def field(value) -> str:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n" + ",\n".join(f"    {line(item)}" for item in value) + "\n  ]"
        return line(value)

    fields = ",\n".join(f"  {line(name)}: {field(value)}" for name, value in golden.items())
    path.write_text("{\n" + fields + "\n}\n", encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes", file=sys.stderr)
