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
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from minixl import __version__
from minixl.files import write_atomically
from minixl.errors import UserError
from minixl.data.inputs import Inputs
from minixl.settings import Settings, flatten

BEFORE_CONFIG = {".lock", "log.jsonl", "inputs.json", "inputs.json.new", "config.toml.new"}
CONFIG = "config.toml"                 # in inputs.json, where every other name is an absolute path


def begin(out: Path, settings: Settings, inputs: Inputs, seed: int, fingerprints: Mapping[str, str]) -> None:
    """What a run finds in its folder."""
    config = _config(settings, inputs, seed)
    (out / "log.jsonl").write_text("", encoding="utf-8")
    write_atomically(out / "inputs.json", json.dumps({**fingerprints, CONFIG: _digest(tomllib.loads(config))}, indent=2))
    write_atomically(out / "config.toml", config)                                      # last: from here on it can be resumed


def _config(settings: Settings, inputs: Inputs, seed: int) -> str:
    versions = {"minixl": __version__} | {name: metadata.version(name) for name in
                                          ("numpy", "scipy", "tokenizers", "safetensors", "seqeval")}
    table = "\n".join(f"{name} = {json.dumps(version)}" for name, version in versions.items())
    return f"seed = {seed}\n{settings.to_toml()}\n{inputs.to_toml()}\n[versions]\n{table}\n"


def _digest(table: Mapping[str, Any]) -> str:
    """Of all that config.toml says but the versions, which may change in the life of a run, and comments."""
    kept = {name: value for name, value in table.items() if name != "versions"}
    return sha256(json.dumps(kept, sort_keys=True).encode("utf-8")).hexdigest()


def read_run(out: Path) -> tuple[Settings, Inputs, int]:
    """Settings, inputs and seed of a run folder's config.toml."""
    path = out / "config.toml"
    if not path.is_file():
        raise UserError(f"--resume: {path} is not there, so {out} holds no run to continue")
    try:
        table = _read_config(out)
        inputs, seed = Inputs.from_table(table["inputs"]), int(table["seed"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: expected the settings of a run as minixl wrote them, found a damaged file ({error}); "
                        "start again with a new --out folder") from None
    return Settings(flatten({key: value for key, value in table.items() if key != "seed"}), str(path)), inputs, seed


def _read_config(out: Path) -> dict[str, Any]:
    return tomllib.loads((out / "config.toml").read_text(encoding="utf-8"))


def read_digests(out: Path) -> dict[str, str]:
    """inputs.json: what the run in the folder began with.  Raises UserError where it is missing or damaged."""
    path = out / "inputs.json"
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = "none"
    except ValueError as error:
        found = f"a damaged file ({error})"
    else:
        if isinstance(digests, dict):
            return digests
        found = "something else"
    raise UserError(f"{path}: expected the digests of the files that this run began with, found {found}; put it back, or choose "
                    "a new --out folder")


def began_with(out: Path, digest: str) -> bool:
    """Whether this is the digest of a file or of the encoder that the run in the folder began with."""
    return digest in read_digests(out).values()


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
        raise UserError(f"--out {out}: the folder is in use; choose another{_cure_in_use(out)}")


def _cure_in_use(out: Path) -> str:
    """How what is in the folder could be continued, if it could."""
    seeds = len(list(out.glob("seed-*/config.toml")))
    if is_finished(out) or not (seeds or (out / CONFIG).is_file()):
        return ""
    return f", or continue {f'these runs with --resume --seeds {seeds}' if seeds else 'that run with --resume'} --out {out}"


def check_resumable(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    """Raises UserError unless the folder holds an unfinished run with these settings, inputs and seed."""
    check_same(out, settings, inputs, seed)
    if is_finished(out):
        raise UserError(f"--resume: the run in {out} is finished, its scores are in {out / 'metrics.json'}")


def check_same(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    """Raises UserError unless the run in the folder was begun with these settings, inputs and seed.

    A value in config.toml that was edited since then is none it was begun with.
    """
    before, files, number = read_run(out)
    changed = [name for name in settings if settings[name] != before[name]]
    if changed:
        name = changed[0]
        raise UserError(f"--resume: {name} was {before[name]!r} when the run began, now it is {settings[name]!r}; leave it "
                        "out to continue that run, or choose a new --out folder")
    if seed != number or files.to_toml() != inputs.to_toml():
        raise UserError(f"--resume: the inputs or the seed differ from those in {out / 'config.toml'}; leave them out to "
                        f"continue that run")
    config = _digest(_read_config(out))
    if read_digests(out).get(CONFIG, config) != config:                    # runs of older versions have none
        raise UserError(f"--resume: {out / 'config.toml'} was changed since the run began; undo that, or choose a new --out folder")


def check_unchanged(out: Path, fingerprints: Mapping[str, str]) -> None:
    """Raises UserError for the first file that is not as it was when the run in the folder began."""
    before = read_digests(out)
    changed = next((path for path, digest in before.items() if path != CONFIG and fingerprints.get(path) != digest), None)
    if changed:
        raise UserError(f"--resume: {changed} has changed since the run began; put the old one back, or choose a new --out folder")
