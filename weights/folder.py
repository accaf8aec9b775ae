"""Hugging Face model folders, in and out: config.json, weights, tokenizer.

    read_config(folder)                      BertConfig, checked
    load_parameters(folder, targets)         fills the buffers of a model, says what was loaded and what was not
    save_folder(folder, ...)                 a folder that transformers loads as well, replaced in one go

Parameter names: weights/names.py.  Test: tests/weights/test_folder.py
"""
from __future__ import annotations

import errno
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from minixl.backend import Array, to_numpy
from minixl.data.encoding import PieceTokenizer
from minixl.errors import UserError
from minixl.models.bert_config import BertConfig, encoder_axes
from minixl.files import replaced_folder
from minixl.weights.names import canonical_names, summary
from minixl.weights.reading import read_json, readable
from minixl.weights.safetensors_reader import Checkpoint

NEEDS = ("an encoder folder needs config.json, model.safetensors and tokenizer.json or vocab.txt, "
         "for mBERT those of google-bert/bert-base-multilingual-cased")
FETCH = "minixl weights fetch e5-small makes this encoder's folder and prints where it is; give that folder"
FLOATS = ("F32", "F16", "BF16", "F64")


def read_config(folder: str | Path) -> BertConfig:
    """config.json of an encoder folder.  Raises UserError when it is missing, broken or not a BERT."""
    folder = Path(folder)
    path = folder / "config.json"
    with readable(folder):
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "no such folder"
            raise UserError(f"{folder}: {what}; {FETCH if folder.name == 'e5-small' else NEEDS}")
        if not path.is_file():
            raise UserError(f"{folder}: config.json is missing; {NEEDS}")
    return BertConfig.from_json(read_json(path), str(path))


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What load_parameters did, in canonical names."""

    path: Path
    loaded: tuple[str, ...]
    left_out: tuple[str, ...]              # in the files, not in the model
    new: tuple[str, ...]                   # in the model, not in the files: untouched
    weights: int                           # numbers loaded

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)} parameters ({self.weights / 1e6:.1f} M weights) from {self.path}"]
        lines += [f"left out: {summary(self.left_out)}"] if self.left_out else []
        lines += [f"newly initialised: {summary(self.new)}"] if self.new else []
        return "\n".join(lines)


def load_parameters(folder: str | Path, targets: Mapping[str, Array], optional: Collection[str] = ()) -> LoadReport:
    """Fill `targets` (canonical name -> NumPy or CuPy buffer) from a folder or file, converting to their dtypes.

    `optional`: names, or prefixes ending in a dot, that may be absent; their buffers then stay as they are.
    Raises UserError for a missing parameter and for one of another shape, before anything is written, and for one that is
    not finite.
    """
    checkpoint = Checkpoint(folder)
    stored = canonical_names(checkpoint.names(), str(folder))
    new = [name for name in targets if name not in stored]
    missing = [name for name in new if not _matches(name, optional)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(f"{folder}: {missing[0]}{more} is missing; the model needs it, "
                        f"found {summary(stored, most=3) or 'no tensors'}")
    loaded = [name for name in targets if name in stored]
    for name in loaded:
        _check_fit(checkpoint, stored[name], name, tuple(targets[name].shape), Path(folder))
    for name in loaded:
        checkpoint.read(stored[name], out=targets[name])
        with np.errstate(invalid="ignore"):
            finite = bool(np.isfinite(targets[name].sum()))            # of a sum: no array of booleans as large as the table
        if not finite:
            raise UserError(f"{checkpoint.file(stored[name])}: {name}: expected finite weights, found NaN or infinite ones; "
                            "copy or download it again")
    left_out = [name for name in stored if name not in targets]
    return LoadReport(Path(folder), tuple(loaded), tuple(left_out), tuple(new),
                      sum(checkpoint.info(stored[name]).size for name in loaded))


def _matches(name: str, optional: Collection[str]) -> bool:
    return name in optional or name.startswith(tuple(prefix for prefix in optional if prefix.endswith(".")))


def _check_fit(checkpoint: Checkpoint, stored: str, name: str, needed: tuple[int, ...], folder: Path) -> None:
    """One tensor against the buffer it is to fill."""
    found = checkpoint.shape(stored)
    if found != needed:
        keys = _config_keys(name, found, needed, folder)
        raise UserError(f"{checkpoint.file(stored)}: {name} has shape {found}, the model needs {needed}"
                        f"{f' (config.json: {keys})' if keys else ''}")
    if checkpoint.dtype(stored) not in FLOATS:
        raise UserError(f"{checkpoint.file(stored)}: {name}: expected one of {', '.join(FLOATS)}, "
                        f"found {checkpoint.dtype(stored)}; quantised weights are not supported")


def _config_keys(name: str, found: tuple[int, ...], needed: tuple[int, ...], folder: Path) -> str:
    """The keys of config.json that decide where two shapes differ; "" for a parameter outside a BERT."""
    if not name.startswith("bert.") or not (folder / "config.json").is_file():
        return ""
    keys = encoder_axes(read_config(folder)).get(name, ())
    if len(found) != len(needed):
        return ", ".join(dict.fromkeys(keys))
    return ", ".join(dict.fromkeys(key for key, a, b in zip(keys, found, needed, strict=False) if a != b))


def save_folder(folder: str | Path, config_json: Mapping[str, Any], tensors: Mapping[str, Array],
                tokenizer: PieceTokenizer, minixl_json: Mapping[str, Any], card: str) -> None:
    """Write a model folder, and only when all of it is written let it take the place of an older one.

    `config_json` becomes config.json with the dtype of the tensors, which is one, `minixl_json` minixl.json, `card` README.md.
    """
    with replaced_folder(folder) as fresh:
        write_tensors(fresh / "model.safetensors", tensors)
        dtype, = {str(value.dtype) for value in tensors.values()}
        rest = {key: value for key, value in config_json.items() if key not in ("dtype", "torch_dtype")}
        write_json(fresh / "config.json", rest | {"torch_dtype": dtype})
        tokenizer.save(fresh)
        write_json(fresh / "minixl.json", minixl_json)
        (fresh / "README.md").write_text(card, "utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """One safetensors file, marked as transformers expects it.  The library writes strided views wrongly."""
    values = {name: np.ascontiguousarray(to_numpy(value)).reshape(value.shape) for name, value in tensors.items()}
    try:
        save_file(values, path, metadata={"format": "pt"})
    except SafetensorError as error:                   # a full disk, most often: callers expect OSError
        raise OSError(errno.EIO, str(error), str(path)) from None
    path.chmod(path.parent.stat().st_mode & 0o666)     # the library makes it readable for its owner only


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Readable JSON with a final newline."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
