"""config.toml of a run folder: every setting, the inputs, the seed, the versions."""
from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from minixl import __version__
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.settings import Schema, Settings, flatten

CONFIG = "config.toml"


def config_text(settings: Settings, inputs: Inputs, seed: int) -> str:
    """Return the content of config.toml."""
    versions = {"minixl": __version__} | {name: metadata.version(name) for name in
                                          ("numpy", "scipy", "tokenizers", "safetensors", "seqeval")}
    table = "\n".join(f"{name} = {json.dumps(version)}" for name, version in versions.items())
    return f"seed = {seed}\n{settings.to_toml()}\n{inputs.to_toml()}\n[versions]\n{table}\n"


def config_digest(text: str) -> str:
    """Return a digest of a config.toml without comments and versions, which may change before a run is finished."""
    kept = {name: value for name, value in tomllib.loads(text).items() if name != "versions"}
    return sha256(json.dumps(kept, sort_keys=True).encode("utf-8")).hexdigest()


def read_config(folder: Path, schema: Schema) -> tuple[Settings, Inputs, int]:
    """Read settings, inputs and seed of a run to continue.  Raises UserError if this version cannot read them."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"--resume: {path} does not exist: {folder} holds no run to continue; name the run's folder with --out")
    try:
        values, inputs, seed = _split(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: expected the settings of a run as minixl wrote them, found a damaged file ({error}); "
                        "start again with a new --out folder") from None
    return schema.settings(values, str(path)), inputs, seed


def read_any_config(folder: Path, schema: Schema) -> tuple[dict[str, Any], Inputs, int]:
    """Read settings, inputs and seed of a run of any version, for a report.

    A setting that this version does not know is kept; one that the file lacks has its default.
    """
    path, version = folder / CONFIG, "an unknown version"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        version = tables["versions"]["minixl"]
        values, inputs, seed = _split(tables)
        settings = {name: setting.default for name, setting in schema.items()} | schema.upgrade(values)
        if settings["task"] not in schema["task"].choices:
            raise ValueError(f"the task {settings['task']!r}")
        return settings, inputs, seed
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path}: expected the settings of a run, found a file that this minixl ({__version__}) cannot read "
                        f"({problem}); it is damaged, or another version ({version}) wrote it; leave this run out") from None


def _split(tables: Mapping[str, Any]) -> tuple[dict[str, Any], Inputs, int]:
    """Return settings, inputs and seed from the tables of a config.toml."""
    values = flatten({name: value for name, value in tables.items() if name != "seed"})
    return values, Inputs.from_table(tables["inputs"]), int(tables["seed"])
