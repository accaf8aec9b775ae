"""Create, lock and check a run folder; a run continues only if nothing has changed since it began.

config.toml is written after the other files that a run begins with: a folder that has it holds a run.  metrics.json is
written last of all: a folder that has it holds a finished run.
"""
from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from minixl.data.inputs import Inputs
from minixl.distributed import on_one_rank
from minixl.errors import UserError
from minixl.files import write_atomically
from minixl.settings import Settings
from minixl.training.config import CONFIG, config_digest, config_text, read_config
from minixl.training.log import Log
from minixl.training.metrics import is_finished

BEFORE_CONFIG = {".lock", "log.jsonl", "inputs.json", "inputs.json.new", "config.toml.new"}


def begin(out: Path, settings: Settings, inputs: Inputs, seed: int, fingerprints: Mapping[str, str]) -> None:
    """Write an empty log, inputs.json and config.toml."""
    config = config_text(settings, inputs, seed)
    Log(out).clear()
    # inputs.json names config.toml alone, and all other files by their absolute paths
    write_atomically(out / "inputs.json", json.dumps({**fingerprints, CONFIG: config_digest(config)}, indent=2))
    write_atomically(out / CONFIG, config)                         # last: from here on the run can be resumed


def holds_run(out: Path) -> bool:
    """Whether a run was begun in the folder."""
    return (out / CONFIG).is_file()


def read_digests(out: Path) -> dict[str, str]:
    """Return inputs.json: digests of what the run in the folder began with.  Raises UserError if it is missing or damaged."""
    path = out / "inputs.json"
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = "no file"
    except ValueError as error:
        problem = f"a damaged file ({error})"
    else:
        if isinstance(digests, dict):
            return digests
        problem = "other content"
    raise UserError(f"{path}: expected the digests of the files that this run began with, found {problem}; put it back, or choose "
                    "a new --out folder")


def began_with(out: Path, digest: str) -> bool:
    """Whether the run in the folder began with a file or an encoder of this digest."""
    return digest in read_digests(out).values()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder for this process, or those that train together.  Raises UserError if another one has it."""
    with ExitStack() as held:
        _lock(folder, held)
        yield


@on_one_rank
def _lock(folder: Path, held: ExitStack) -> None:
    lock = held.enter_context(open(folder / ".lock", "w", encoding="utf-8"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"--out {folder}: another process is writing to this folder") from None


@on_one_rank
def create(out: Path) -> None:
    """Create the folder if it does not exist."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: the folder cannot be created ({error.strerror or error}); choose another") from None


def check_unused(out: Path) -> None:
    """Raises UserError unless the folder is new, or holds only the beginnings of a run that was killed before its config.toml."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: expected a folder, found a file; choose another name")
    names = {entry.name for entry in out.iterdir()} if out.exists() else set()
    if names - BEFORE_CONFIG:
        raise UserError(f"--out {out}: the folder {_state(out)}")


def _state(out: Path) -> str:
    """Return the end of a message: what the folder holds, and what to do."""
    seeds = len(list(out.glob(f"seed-*/{CONFIG}")))
    if not (seeds or holds_run(out)):
        return "is in use; choose another"
    if is_finished(out):
        return f"holds a finished run, its scores are in {out / 'metrics.json'}; choose another, {_how_to_repeat(out)}"
    unfinished = f"these runs with --resume --seeds {seeds}" if seeds else "that run with --resume"
    return f"is in use; choose another, or continue {unfinished} --out {out}"


def _how_to_repeat(out: Path, name: str = "SECTION.KEY", value: Any = "VALUE") -> str:
    """Return the part of a message that says how to train with the settings of a finished run and a change."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"or repeat it with other settings: minixl train {out} --set {name}={text} --out NEW"


def check_resumable(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    """Raises UserError unless the folder holds an unfinished run with these settings, inputs and seed."""
    check_same(out, settings, inputs, seed)
    if is_finished(out):
        raise UserError(f"--resume: the run in {out} is finished, its scores are in {out / 'metrics.json'}; choose another --out "
                        f"folder, {_how_to_repeat(out)}")
    gone = [path for path in (inputs.encoder, *inputs.text_files()) if path is not None and not path.exists()]
    if gone:
        raise UserError(f"--resume: {gone[0]} is not there any more, but the run in {out} began with it; put it back, or choose a "
                        "new --out folder")


def check_same(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    """Raises UserError unless the run in the folder began with these settings, inputs and seed.

    A config.toml that was edited since then is an error too.
    """
    before, old_inputs, old_seed = read_config(out, settings.schema)
    changed = [name for name in settings if settings[name] != before[name]]
    if changed:
        name = changed[0]
        cure = f"that run is finished, {_how_to_repeat(out, name, settings[name])}" if is_finished(out) else \
            "leave it out to continue that run, or choose a new --out folder"
        raise UserError(f"--resume: {name} was {before[name]!r} when the run began, now it is {settings[name]!r}; {cure}")
    if seed != old_seed or old_inputs.to_toml() != inputs.to_toml():
        raise UserError(f"--resume: the inputs or the seed differ from those in {out / CONFIG}; leave them out to "
                        "continue that run")
    digest = config_digest((out / CONFIG).read_text(encoding="utf-8-sig"))
    if read_digests(out).get(CONFIG, digest) != digest:                    # runs of older versions lack it
        raise UserError(f"--resume: {out / CONFIG} was changed since the run began; undo that, or choose a new --out folder")


def check_unchanged(out: Path, fingerprints: Mapping[str, str]) -> None:
    """Raises UserError for the first file that has changed since the run in the folder began."""
    before = read_digests(out)
    changed = next((path for path, digest in before.items() if path != CONFIG and fingerprints.get(path) != digest), None)
    if changed:
        raise UserError(f"--resume: {changed} has changed since the run began; put the old one back, or choose a new --out folder")
