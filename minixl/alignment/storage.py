"""The files of an alignment's folder: arrays with JSON values in their header, config.toml, metrics.json.

    OUT/config.toml                        settings, seed, inputs and their digests: what --resume compares
    OUT/es/restart-N.safetensors           the map of attempt N, its criterion and its curve
    OUT/es/restart-N.checkpoint            the attempt in progress
    OUT/es/self-learning.safetensors       the map after refine.self_learning
    OUT/es/mapping.safetensors             the selected and refined map W (H, H): mapped = W x
    OUT/es/dictionary.tsv                  source word, target word, CSLS
    OUT/es/picture.json                    words and points of the pictures in report.html
    OUT/en.vec, OUT/en.safetensors, ...    the vectors of each language in the shared space
    OUT/metrics.json, OUT/report.html      criterion, precision and curves; the page

Test: tests/alignment/test_storage.py
"""
from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minixl.errors import UserError
from minixl.files import digest, replaced_file, write_atomically
from minixl.settings import Settings

CONFIG, METRICS = "config.toml", "metrics.json"
KEY = "minixl"                                     # of the JSON values in the header


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], values: Any) -> None:
    """Write arrays and JSON values into one file, atomically."""
    with replaced_file(path) as fresh:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()} or {"none": np.zeros(0, np.int8)}, fresh,
                  {KEY: json.dumps(values)})


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], Any]:
    """Read what save_arrays wrote.  Raises UserError for a damaged file."""
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()[KEY])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it and continue with --resume, or choose a new --out folder") from None


def write_config(out: Path, settings: Settings, seed: int, inputs: Mapping[str, Mapping[str, str]]) -> None:
    """Write config.toml.  inputs: role -> language -> path."""
    write_atomically(out / CONFIG, _config_text(settings, seed, inputs))


def check_config(out: Path, settings: Settings, seed: int, inputs: Mapping[str, Mapping[str, str]]) -> None:
    """Raise UserError unless the folder was begun with these settings, seed and inputs, and the files are the same."""
    path = out / CONFIG
    if not path.is_file():
        raise UserError(f"--resume: {out} has no {CONFIG}, so there is nothing to continue; leave out --resume")
    before, now = (tomllib.loads(text) for text in (path.read_text(encoding="utf-8"), _config_text(settings, seed, inputs)))
    for table in now.keys() | before.keys():
        if before.get(table) != now.get(table):
            what = f"[{table}]" if isinstance(now.get(table), dict) else table
            raise UserError(f"--resume: {what} in {path} differs from this command, or an input file has changed; repeat the "
                            "command that began the folder, or choose a new --out folder")


def _config_text(settings: Settings, seed: int, inputs: Mapping[str, Mapping[str, str]]) -> str:
    lines = [f"seed = {seed}", settings.to_toml().rstrip()]
    for role, files in inputs.items():
        lines += [f"\n[inputs.{role}]", *(f"{json.dumps(language)} = {json.dumps(path)}" for language, path in files.items())]
    lines += ["\n[digests]", *(f"{json.dumps(path)} = {json.dumps(digest(Path(path)))}"
                               for path in sorted({path for files in inputs.values() for path in files.values()}))]
    return "\n".join(lines) + "\n"
