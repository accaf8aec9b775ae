"""Read and write Hugging Face model folders: config.json, weights, tokenizer.

    read_config(folder)                      read and check config.json
    check_sizes(folder, config, shapes)      compare config.json with the weights, before a model of its sizes is built
    load_parameters(folder, targets)         fill the buffers of a model, report what was loaded and what was not
    save_folder(folder, ...)                 write a folder atomically; transformers can load it as well

Parameter names: weights/names.py.  Test: tests/weights/test_folder.py
"""
from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from minixl.backend import Array, to_numpy
from minixl.data.encoding import PieceTokenizer
from minixl.backend import array_module
from minixl.errors import UserError
from minixl.files import replaced_folder
from minixl.models.bert_config import BertConfig, encoder_axes
from minixl.weights.encoder_names import fix_of_missing_folder
from minixl.weights.names import canonical_names, names_to_save, summarise_names
from minixl.weights.reading import explain_read_errors, read_json
from minixl.weights.safetensors_reader import SafetensorsReader

FOLDER_CONTENTS = ("an encoder folder needs config.json, model.safetensors and tokenizer.json or vocab.txt, "
                   "for mBERT those of google-bert/bert-base-multilingual-cased")
FLOATS = ("F32", "F16", "BF16", "F64")


def read_config(folder: str | Path) -> BertConfig:
    """Read config.json of an encoder folder.  Raises UserError if it is missing, invalid or of neither a BERT nor an XLM-R."""
    folder = Path(folder)
    path = folder / "config.json"
    with explain_read_errors(folder):
        if not folder.is_dir():
            if folder.exists():
                raise UserError(f"{folder}: is a file, not a folder; {FOLDER_CONTENTS}")
            raise UserError(f"{folder}: no such folder; {fix_of_missing_folder(folder, FOLDER_CONTENTS)}")
        if not path.is_file():
            raise UserError(f"{folder}: config.json is missing; {FOLDER_CONTENTS}")
    return BertConfig.from_json(read_json(path), str(path))


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What load_parameters loaded, in canonical names."""

    path: Path
    loaded: tuple[str, ...]
    unused: tuple[str, ...]                # in the files, not in the model
    missing: tuple[str, ...]               # in the model, not in the files; left as initialised
    weights: int                           # how many numbers were loaded

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)} parameters ({self.weights / 1e6:.1f} M weights) from {self.path}"]
        lines += [f"unused: {summarise_names(self.unused)}"] if self.unused else []
        lines += [f"newly initialised: {summarise_names(self.missing)}"] if self.missing else []
        return "\n".join(lines)


def load_parameters(folder: str | Path, targets: Mapping[str, Array], optional: Collection[str] = ()) -> LoadReport:
    """Fill `targets` (canonical name -> NumPy or CuPy buffer) from a folder or file, converting to their dtypes.

    `optional`: names, or prefixes ending in a dot, that may be absent; their buffers then stay as they are.
    Raises UserError for a missing parameter or one of another shape, before filling any buffer, and for one that is not finite.
    """
    reader, stored = check_parameters(folder, {name: tuple(target.shape) for name, target in targets.items()}, optional)
    loaded = [name for name in targets if name in stored]
    for name in loaded:
        reader.read(stored[name], out=targets[name])
        with np.errstate(invalid="ignore"):
            total = targets[name].sum()                                # of the sum, to avoid a Boolean array as large as the table
            finite = bool(array_module(total).isfinite(total))
        if not finite:
            raise UserError(f"{reader.file(stored[name])}: {name}: expected finite weights, found NaN or infinity; "
                            "copy or download it again")
    unused = [name for name in stored if name not in targets]
    missing = [name for name in targets if name not in stored]
    return LoadReport(Path(folder), tuple(loaded), tuple(unused), tuple(missing),
                      sum(reader.info(stored[name]).size for name in loaded))


def _check_model_type(names: Collection[str], folder: Path) -> None:
    """Raises UserError for a RoBERTa that config.json calls a BERT: its positions would be wrong."""
    theirs = next((name for name in names if name.startswith("roberta.")), None)
    if theirs and (folder / "config.json").is_file() and read_config(folder).model_type == "bert":
        raise UserError(f"{folder / 'config.json'}: model_type: expected 'xlm-roberta', since the weights have {theirs}, found "
                        "'bert' or none; copy config.json of the same model")


def check_sizes(folder: str | Path, config: BertConfig, shapes: Callable[[], Mapping[str, tuple[int, ...]]]) -> None:
    """Raises UserError if the weights of a folder lack the layers or the parameters of a model.

    shapes: returns those that the model needs; not called if config.json has more layers than the weights, since even a list
    of all parameters could then fill the memory.
    """
    names = canonical_names(SafetensorsReader(folder).names(), str(folder))
    layers = {int(match[1]) for match in map(re.compile(r"bert\.encoder\.layer\.(\d+)\.").match, names) if match}
    if config.num_hidden_layers > len(layers):
        raise UserError(f"{Path(folder) / 'config.json'}: num_hidden_layers: expected at most {len(layers)}, as many as the "
                        f"weights have, found {config.num_hidden_layers}; undo your changes to it, or copy the folder again")
    check_parameters(folder, shapes())


def check_parameters(folder: str | Path, shapes: Mapping[str, tuple[int, ...]], optional: Collection[str] = ()
                     ) -> tuple[SafetensorsReader, dict[str, str]]:
    """Compare the shapes that a model needs with those in the header of the weights, before any memory is allocated.

    Returns the reader, and canonical name -> stored name.  Raises UserError as load_parameters does.
    """
    reader = SafetensorsReader(folder)
    _check_model_type(reader.names(), Path(folder))
    stored = canonical_names(reader.names(), str(folder))
    required = [name for name in shapes if name not in stored and not _matches(name, optional)]
    if required:
        more = f" (and {len(required) - 1} more)" if len(required) > 1 else ""
        raise UserError(f"{folder}: {required[0]}{more} is missing; the model needs it, "
                        f"found {summarise_names(stored, most=3) or 'no tensors'}")
    for name, shape in shapes.items():
        if name in stored:
            _check_fit(reader, stored[name], name, shape, Path(folder))
    return reader, stored


def _matches(name: str, optional: Collection[str]) -> bool:
    return name in optional or name.startswith(tuple(prefix for prefix in optional if prefix.endswith(".")))


def _check_fit(reader: SafetensorsReader, stored: str, name: str, needed: tuple[int, ...], folder: Path) -> None:
    """Raises UserError if a stored tensor does not fit its buffer."""
    shape = reader.shape(stored)
    if shape != needed:
        keys = _config_keys(name, shape, needed, folder)
        raise UserError(f"{reader.file(stored)}: {name} has shape {shape}, the model needs {needed}"
                        f"{f' (config.json: {keys})' if keys else ''}")
    if reader.dtype(stored) not in FLOATS:
        raise UserError(f"{reader.file(stored)}: {name}: expected one of {', '.join(FLOATS)}, "
                        f"found {reader.dtype(stored)}; quantised weights are not supported")


def _config_keys(name: str, shape: tuple[int, ...], needed: tuple[int, ...], folder: Path) -> str:
    """List the keys of config.json that set the differing sizes; "" for a parameter outside the encoder."""
    if not name.startswith("bert.") or not (folder / "config.json").is_file():
        return ""
    keys = encoder_axes(read_config(folder)).get(name, ())
    if len(shape) != len(needed):
        return ", ".join(dict.fromkeys(keys))
    return ", ".join(dict.fromkeys(key for key, a, b in zip(keys, shape, needed, strict=False) if a != b))


def save_folder(folder: str | Path, config_json: Mapping[str, Any], tensors: Mapping[str, Array],
                tokenizer: PieceTokenizer, minixl_json: Mapping[str, Any], card: str,
                code: Mapping[str, str] | None = None) -> None:
    """Write a model folder; it replaces an existing one only when it is complete.

    `config_json` becomes config.json, with the dtype that all tensors share, `minixl_json` minixl.json and `card` README.md.
    `code`: name -> text of Python files that transformers needs to load the model.
    """
    names = names_to_save(tensors, config_json.get("model_type", ""))
    with replaced_folder(folder) as new_folder:
        write_tensors(new_folder / "model.safetensors", {names[name]: value for name, value in tensors.items()})
        dtype, = {str(value.dtype) for value in tensors.values()}
        rest = {key: value for key, value in config_json.items() if key not in ("dtype", "torch_dtype")}
        write_json(new_folder / "config.json", rest | {"torch_dtype": dtype})
        tokenizer.save(new_folder)
        write_json(new_folder / "minixl.json", minixl_json)
        for name, text in {"README.md": card, **(code or {})}.items():
            (new_folder / name).write_text(text, "utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write a safetensors file with the metadata that transformers expects.  Copies strided views, which the library gets wrong."""
    values = {name: np.ascontiguousarray(to_numpy(value)).reshape(value.shape) for name, value in tensors.items()}
    try:
        save_file(values, path, metadata={"format": "pt"})
    except SafetensorError as error:                   # most often a full disk; callers expect OSError
        raise OSError(errno.EIO, str(error), str(path)) from None
    path.chmod(path.parent.stat().st_mode & 0o666)     # the library makes it readable only for its owner


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON with a final newline."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
