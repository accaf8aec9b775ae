"""A run folder as such: begun, held by one process, read back, and continued only if nothing it was begun with has changed.

A folder holds a run from the moment its config.toml is there, which is written after everything else that a run begins
with.  The run is finished when metrics.json is there, which is written last of all.
"""
from __future__ import annotations

import fcntl
import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from minixl import __version__
from minixl.checkpoint import write_atomically
from minixl.errors import UserError
from minixl.inputs import Inputs
from minixl.settings import Settings, flatten

BEFORE_CONFIG = {".lock", "log.jsonl", "inputs.json", "inputs.json.new", "config.toml.new"}


def begin(out: Path, settings: Settings, inputs: Inputs, seed: int, fingerprints: Mapping[str, str]) -> None:
    """What a run finds in its folder."""
    (out / "log.jsonl").write_text("", encoding="utf-8")
    write_atomically(out / "inputs.json", json.dumps(fingerprints, indent=2))
    write_atomically(out / "config.toml", _config(settings, inputs, seed))             # last: from here on it can be resumed


def _config(settings: Settings, inputs: Inputs, seed: int) -> str:
    versions = {"minixl": __version__} | {name: metadata.version(name) for name in
                                          ("numpy", "scipy", "tokenizers", "safetensors", "seqeval")}
    table = "\n".join(f"{name} = {json.dumps(version)}" for name, version in versions.items())
    return f"seed = {seed}\n{settings.to_toml()}\n{inputs.to_toml()}\n[versions]\n{table}\n"


def read_run(out: Path) -> tuple[Settings, Inputs, int]:
    """Settings, inputs and seed of a run folder's config.toml."""
    path = out / "config.toml"
    if not path.is_file():
        raise UserError(f"--resume: {path} is not there, so {out} holds no run to continue")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        inputs, seed = Inputs.from_table(table["inputs"]), int(table["seed"])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected the settings of a run as minixl wrote them, found a damaged file ({error}); "
                        "start again with a new --out folder") from None
    return Settings(flatten({key: value for key, value in table.items() if key != "seed"}), str(path)), inputs, seed


def began_with(out: Path, digest: str) -> bool:
    """Whether this is the digest of a file or of the encoder that the run in the folder began with."""
    return digest in json.loads((out / "inputs.json").read_text(encoding="utf-8")).values()


def is_finished(out: Path) -> bool:
    """Whether the run in the folder has its scores."""
    return (out / "metrics.json").is_file()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process.  Raises UserError when another one holds it."""
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"--out {folder}: another process is writing to this folder") from None
        yield


def make(out: Path) -> None:
    """The folder, if it is not there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: the folder cannot be made ({error.strerror or error}); choose another") from None


def check_unused(out: Path) -> None:
    """Raises UserError for a folder with anything in it but the beginnings of a run that was killed before its config.toml."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: expected a folder, found a file; choose another name")
    names = {entry.name for entry in out.iterdir()} if out.exists() else set()
    if names - BEFORE_CONFIG:
        begun = "config.toml" in names or any(out.glob("seed-*/config.toml"))
        raise UserError(f"--out {out}: the folder is in use; choose another" +
                        (f", or continue that run with --resume --out {out}" if begun else ""))


def check_resumable(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    """Raises UserError unless the folder holds an unfinished run with these settings, inputs and seed."""
    check_same(out, settings, inputs, seed)
    if is_finished(out):
        raise UserError(f"--resume: the run in {out} is finished, its scores are in {out / 'metrics.json'}")


def check_same(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    """Raises UserError unless the run in the folder was begun with these settings, inputs and seed."""
    before, files, number = read_run(out)
    changed = [name for name in settings if settings[name] != before[name]]
    if changed:
        name = changed[0]
        raise UserError(f"--resume: {name} was {before[name]!r} when the run began, now it is {settings[name]!r}")
    if seed != number or files != inputs:
        raise UserError(f"--resume: the inputs or the seed differ from those in {out / 'config.toml'}; leave them out to "
                        f"continue that run")


def check_unchanged(out: Path, fingerprints: Mapping[str, str]) -> None:
    """Raises UserError for the first file that is not as it was when the run in the folder began."""
    before = json.loads((out / "inputs.json").read_text(encoding="utf-8"))
    changed = next((path for path, digest in before.items() if fingerprints.get(path) != digest), None)
    if changed:
        raise UserError(f"--resume: {changed} has changed since the run began; put the old one back, or choose a new --out folder")
