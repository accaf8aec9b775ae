"""Convert any safetensors checkpoint to one file or folder with current parameter names, and optionally another dtype.

The encoder's parameters get the prefix bert., or roberta. for an XLM-R, so that transformers can load the result.

Test: tests/weights/test_convert.py
"""
from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from minixl.errors import UserError
from minixl.files import MODEL_FILES, replaced_file, replaced_folder
from minixl.models.bert_config import MEAN_POOLED
from minixl.weights.folder import FLOATS, read_json, write_json, write_tensors
from minixl.weights.names import PREFIXES, canonical_names, name_under
from minixl.weights.safetensors_reader import SafetensorsReader

FILES = (".bin", ".ckpt", ".gguf", ".h5", ".json", ".npy", ".npz", ".onnx", ".pt", ".pth", ".zip")  # not of folders
COPIED = [name for name in MODEL_FILES if name not in ("config.json", "model.safetensors")]


def convert(source: str | Path, target: str | Path, dtype: str | None = None) -> int:
    """Write `source` (file or folder, shards too) to `target` and return the number of tensors.

    `target`: a new .safetensors file, or a new or empty folder, which also gets config.json and the tokenizer of a source
    folder.  `dtype`: "float32" or "float16" for all floating-point tensors; None keeps theirs, but turns bfloat16 into float32.
    """
    source, target = Path(source), Path(target)
    _check_new(target, source)
    tensors = _read_all(SafetensorsReader(source), source, dtype)
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
    """List what an encoder folder lacks besides weights; a model with a lexicon needs no tokenizer."""
    has = lambda *names: any((Path(folder) / name).is_file() for name in names)
    config = [] if has("config.json") else ["config.json"]
    return config + ([] if has("tokenizer.json", "vocab.txt", "lexicon.json") else ["tokenizer (tokenizer.json or vocab.txt)"])


def _check_new(target: Path, source: Path) -> None:
    """Raises UserError if `target` holds anything; earlier results cannot be told from weights that someone downloaded."""
    if source.resolve() == target.resolve():
        raise UserError(f"{target}: expected a target other than the source, found the same")
    if target.suffix == ".safetensors" and target.is_dir():
        raise UserError(f"{target}: expected a file to write to, found a folder")
    if target.suffix.lower() in FILES and not target.exists():
        raise UserError(f"{target}: expected a name that ends in .safetensors, or that of a folder, found {target.suffix}; give "
                        f"{target.with_suffix('.safetensors')} or {target.with_suffix('')}")
    if target.suffix != ".safetensors" and target.is_file():
        raise UserError(f"{target}: expected a folder to write to, or a name that ends in .safetensors, found a file")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        expected = "new or empty folder, found one with files" if target.is_dir() else "new file, found an existing one"
        raise UserError(f"{target}: expected a {expected}; choose another, or remove it first")


def _read_all(reader: SafetensorsReader, source: Path, dtype: str | None) -> dict[str, np.ndarray]:
    tensors = {}
    prefix = _prefix(reader.names(), source)
    for name, stored in canonical_names(reader.names(), str(source), partial(name_under, prefix)).items():
        is_converted = dtype is not None and reader.dtype(stored) in FLOATS
        out = np.empty(reader.shape(stored), dtype) if is_converted else None
        with np.errstate(over="ignore"):               # the check below reports overflow, with the name
            tensors[name] = reader.read(stored, out)
        if dtype == "float16" and is_converted and np.isinf(tensors[name]).any():
            raise UserError(f"{reader.file(stored)}: {name}: expected weights within ±65504 for float16, "
                            f"found larger ones; use float32")
    return tensors


def _prefix(names: Iterable[str], source: Path) -> str:
    """Return the prefix of the encoder's parameters: by config.json, or by the stored names if there is none."""
    if (source / "config.json").is_file():
        model_type = str(read_json(source / "config.json").get("model_type")).removeprefix(MEAN_POOLED)
    else:
        model_type = "xlm-roberta" if any(name.startswith("roberta.") for name in names) else "bert"
    return PREFIXES.get(str(model_type), "bert.")


def _copy_rest(source: Path, folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write config.json with the new dtype; copy the tokenizer, minixl.json and README unchanged."""
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if (source / "config.json").is_file():
        config = read_json(source / "config.json")
        kept = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
        dtypes = {str(value.dtype) for value in tensors.values() if value.dtype.kind == "f"}
        write_json(folder / "config.json", kept | ({"torch_dtype": dtypes.pop()} if len(dtypes) == 1 else {}))
