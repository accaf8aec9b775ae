"""Any safetensors checkpoint -> one file, or one folder, with the names minixl uses and the dtype asked for.

Test: tests/weights/test_convert.py
"""
from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minixl.errors import UserError
from minixl.files import MODEL_FILES, replaced_file, replaced_folder
from minixl.weights.folder import FLOATS, read_json, write_json, write_tensors
from minixl.weights.names import canonical_names
from minixl.weights.safetensors_reader import Checkpoint

COPIED = [name for name in MODEL_FILES if name not in ("config.json", "model.safetensors")]


def convert(source: str | Path, target: str | Path, dtype: str | None = None) -> int:
    """Write `source` (file or folder, shards too) to `target` and return the number of tensors.

    `target`: a new .safetensors file, or a new or empty folder, which also gets config.json and the tokenizer of a source
    folder.  `dtype`: "float32" or "float16" for all floating-point tensors; None keeps theirs (bfloat16 becomes float32).
    """
    source, target = Path(source), Path(target)
    _check_new(target, source)
    tensors = _read_all(Checkpoint(source), source, dtype)
    if target.suffix == ".safetensors":
        with replaced_file(target) as file:
            write_tensors(file, tensors)
        return len(tensors)
    with replaced_folder(target) as folder:
        write_tensors(folder / "model.safetensors", tensors)
        if source.is_dir():
            _copy_rest(source, folder, tensors)
    return len(tensors)


def missing_for_training(folder: str | Path) -> list[str]:
    """What an encoder folder needs besides its weights and does not have, in words; nothing of a model with a lexicon."""
    has = lambda *names: any((Path(folder) / name).is_file() for name in names)
    config = [] if has("config.json") else ["config.json"]
    return config + ([] if has("tokenizer.json", "vocab.txt", "lexicon.json") else ["tokenizer (tokenizer.json or vocab.txt)"])


def _check_new(target: Path, source: Path) -> None:
    """Raises UserError unless there is nothing at `target` that could be lost.

    Weights that somebody downloaded look like those that were converted before, so neither is replaced.
    """
    if source.resolve() == target.resolve():
        raise UserError(f"{target}: expected another place than the source, found the same")
    if target.suffix == ".safetensors" and target.is_dir():
        raise UserError(f"{target}: expected a file to write to, found a folder")
    if target.suffix != ".safetensors" and target.is_file():
        raise UserError(f"{target}: expected a folder to write to, or a name that ends in .safetensors, found a file")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        what = "new or empty folder, found one in use" if target.is_dir() else "new file, found one that is there"
        raise UserError(f"{target}: expected a {what}; choose another, or remove it first")


def _read_all(checkpoint: Checkpoint, source: Path, dtype: str | None) -> dict[str, np.ndarray]:
    tensors = {}
    for name, stored in canonical_names(checkpoint.names(), str(source)).items():
        change = dtype is not None and checkpoint.dtype(stored) in FLOATS
        out = np.empty(checkpoint.shape(stored), dtype) if change else None
        with np.errstate(over="ignore"):               # what does not fit is an error of ours, with the name in it
            tensors[name] = checkpoint.read(stored, out)
        if dtype == "float16" and change and np.isinf(tensors[name]).any():
            raise UserError(f"{checkpoint.file(stored)}: {name}: expected weights within ±65504 for float16, "
                            f"found larger ones; use float32")
    return tensors


def _copy_rest(source: Path, folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """config.json with the new dtype, and the tokenizer, minixl.json and README as they are."""
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if (source / "config.json").is_file():
        config = read_json(source / "config.json")
        kept = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
        dtypes = {str(value.dtype) for value in tensors.values() if value.dtype.kind == "f"}
        write_json(folder / "config.json", kept | ({"torch_dtype": dtypes.pop()} if len(dtypes) == 1 else {}))
