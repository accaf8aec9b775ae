"""Read the header of a safetensors file and check it against the format.

A file is: u64 length N (little endian), N bytes of JSON {name: {dtype, shape, data_offsets: [start, end]}}, then the
data without holes or overlaps (huggingface.co/docs/safetensors).

    read_header(path)        name -> TensorInfo; a UserError for each way a file can violate the format

Test: tests/weights/test_safetensors_reader.py
"""
from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.errors import UserError
from minixl.weights.reading import explain_read_errors

MAX_HEADER = 100_000_000                   # bytes, the limit of the format; a stray file cannot request terabytes
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
          "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}


class TensorInfo(NamedTuple):
    """One tensor of a file."""

    dtype: str                             # a key of DTYPES
    shape: tuple[int, ...]
    start: int                             # first byte, from the beginning of the file
    end: int                               # one past the last byte

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


def read_header(path: str | Path) -> dict[str, TensorInfo]:
    """Map names to TensorInfo, in the order of the data.  Raises UserError for the first violation of the format."""
    path = Path(path)
    header, data_start, file_size = _parse_header(path)
    tensors = {name: _tensor(f"{path}: tensor {name!r}", entry, data_start)
               for name, entry in header.items() if name != "__metadata__"}
    tensors = dict(sorted(tensors.items(), key=lambda item: item[1][2:]))
    end = data_start
    for name, info in tensors.items():
        if info.start != end:
            problem = "overlaps the tensor before it" if info.start < end else "leaves a hole before it"
            raise UserError(f"{path}: tensor {name!r} {problem}: expected to begin at byte {end - data_start} of the "
                            f"data, found {info.start - data_start}")
        end = info.end
        if end > file_size:
            raise UserError(f"{path}: truncated, or offsets out of the file: tensor {name!r}: expected data up to "
                            f"byte {end}, found a file of {file_size} bytes; copy or download it again")
    if end != file_size:
        raise UserError(f"{path}: expected the file to end with its last tensor at byte {end}, "
                        f"found {file_size - end} bytes more")
    return tensors


def _parse_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the JSON header, the byte where the data begins and the size of the file."""
    with explain_read_errors(path), path.open("rb") as file:
        size = path.stat().st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        opening = file.read(1)
        if opening != b"{" or length < 2:
            raise UserError(f"{path}: not a safetensors file: expected an 8-byte length and then '{{', "
                            f"found {(start + opening)!r}{_likely_format(start)}")
        if length > MAX_HEADER:
            raise UserError(f"{path}: header too large: expected at most {MAX_HEADER} bytes, found {length}")
        if 8 + length > size:
            raise UserError(f"{path}: truncated: expected a header of {length} bytes, found a file of {size} bytes; "
                            "copy or download it again")
        text = opening + file.read(length - 1)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: the header is not valid JSON: {error}; copy or download it again") from None
    return header, 8 + length, size


def _likely_format(start: bytes) -> str:
    if start.startswith(b"version "):
        return " (a Git LFS pointer: run git lfs pull)"
    if start.startswith((b"PK", b"\x80")):
        return " (a pickled PyTorch file)"
    return ""


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return names


def _tensor(where: str, entry: Any, data_start: int) -> TensorInfo:
    """Check one header entry and return its TensorInfo."""
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or set(entry) != keys:
        found = sorted(entry) if isinstance(entry, dict) else entry
        raise UserError(f"{where}: expected dtype, shape and data_offsets, found {found!r}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise UserError(f"{where}: unknown dtype: expected one of {', '.join(DTYPES)}, found {dtype!r}")
    if not _whole_numbers(shape):
        raise UserError(f"{where}: shape: expected a list of whole numbers, found {shape!r}")
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise UserError(f"{where}: data_offsets: expected [start, end] with 0 <= start <= end, found {offsets!r}")
    expected = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != expected:
        raise UserError(f"{where}: size: expected {expected} bytes for {dtype} {tuple(shape)}, "
                        f"found {offsets[1] - offsets[0]}")
    return TensorInfo(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
