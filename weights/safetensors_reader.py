"""Reading safetensors files: the header, checked promise by promise, and tensors copied straight to where they belong.

A file is: u64 length N (little endian), N bytes of JSON {name: {dtype, shape, data_offsets: [start, end]}}, then the
data without holes or overlaps (huggingface.co/docs/safetensors).  The data is memory-mapped, copied (and converted)
block by block, and every block's pages are handed back at once: loading costs the buffers it fills and little more.

    read_header(path)        name -> TensorInfo; one UserError for every promise a file can break
    Checkpoint(path)         a folder (one file, or shards with their index) or a file: names, shape, dtype, read

Names and what they become: weights/names.py.  Test: tests/weights/test_safetensors_reader.py, test_memory.py
"""
from __future__ import annotations

import json
import math
import mmap
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.errors import UserError

MAX_HEADER = 100_000_000                   # bytes; the limit of the format: a stray file cannot ask for terabytes
BLOCK = 1 << 20                            # weights converted at a time: 4 MB, small beside any buffer it fills
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
          "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
INDEX = "model.safetensors.index.json"
PICKLE = """python -c "import sys, torch, safetensors.torch as s; f = sys.argv[1]; \
s.save_file({k: v.clone().contiguous() for k, v in \
torch.load(f + '/pytorch_model.bin', 'cpu', weights_only=True).items()}, \
f + '/model.safetensors', {'format': 'pt'})" """


class TensorInfo(NamedTuple):
    """One tensor of a file."""

    dtype: str                             # a key of DTYPES
    shape: tuple[int, ...]
    start: int                             # first byte, counted from the beginning of the file
    end: int                               # one past the last byte

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


def read_header(path: str | Path) -> dict[str, TensorInfo]:
    """Name -> TensorInfo, in the order of the data.  Raises UserError naming the first promise the file breaks."""
    path = Path(path)
    header, data_start, file_size = _parse_header(path)
    tensors = {name: _tensor(f"{path}: tensor {name!r}", entry, data_start)
               for name, entry in header.items() if name != "__metadata__"}
    tensors = dict(sorted(tensors.items(), key=lambda item: item[1][2:]))
    end = data_start
    for name, info in tensors.items():
        if info.start != end:
            what = "overlaps the tensor before it" if info.start < end else "leaves a hole before it"
            raise UserError(f"{path}: tensor {name!r} {what}: expected to begin at byte {end - data_start} of the "
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
    """The JSON header, the byte where the data begins and the size of the file."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            opening = file.read(1)
            if opening != b"{" or length < 2:
                raise UserError(f"{path}: not a safetensors file: expected an 8-byte length and then '{{', "
                                f"found {(start + opening)!r}{_what_it_looks_like(start)}")
            if length > MAX_HEADER:
                raise UserError(f"{path}: header too large: expected at most {MAX_HEADER} bytes, found {length}")
            if 8 + length > size:
                raise UserError(f"{path}: truncated: expected a header of {length} bytes, found a file of {size} bytes")
            text = opening + file.read(length - 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: the header is not valid JSON: {error}") from None
    return header, 8 + length, size


def _what_it_looks_like(start: bytes) -> str:
    if start.startswith(b"version "):
        return " (a Git LFS pointer: run git lfs pull)"
    if start.startswith((b"PK", b"\x80")):
        return " (a pickled PyTorch file)"
    return ""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return names


def _tensor(where: str, entry: Any, data_start: int) -> TensorInfo:
    """Check one header entry against its own promises."""
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


class _File:
    """One memory-mapped safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path, self.tensors = path, read_header(path)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def blocks(self, name: str) -> Iterator[tuple[slice, np.ndarray]]:
        """(which weights, their values) in order; bfloat16 comes as float32.  Pages are handed back after each."""
        info = self.tensors[name]
        stored = np.frombuffer(self._map, DTYPES[info.dtype], info.size, info.start)
        for start in range(0, info.size, BLOCK):
            part = slice(start, min(start + BLOCK, info.size))
            block = stored[part]
            if info.dtype == "BF16":                   # the upper half of a float32
                block = (block.astype(np.uint32) << np.uint32(16)).view(np.float32)
            yield part, block
            self._release(info.start + part.start * stored.itemsize, info.start + part.stop * stored.itemsize)

    def _release(self, start: int, end: int) -> None:
        """Tell the system that these pages are not needed any more; they are read again from disk if they are."""
        if hasattr(mmap, "MADV_DONTNEED"):             # not on every system; there the pages go when memory is short
            first = start - start % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, first, end - first)


class Checkpoint:
    """All tensors of a folder or a file, under the names they are stored by."""

    def __init__(self, path: str | Path) -> None:
        """`path`: a .safetensors file, or a folder with model.safetensors or with shards and their index."""
        self.path = Path(path)
        files, expected = _find_files(self.path)
        self._files: dict[str, _File] = {}
        for file in map(_File, files):
            for name in file.tensors:
                if name in self._files:
                    raise UserError(f"{file.path}: tensor {name!r} is also in {self._files[name].path.name}")
                self._files[name] = file
        for name, shard in expected.items():
            if name not in self._files or self._files[name].path.name != shard:
                raise UserError(f"{self.path / shard}: tensor {name!r} is missing; {INDEX} says it is there")

    def names(self) -> list[str]:
        """Names as stored, in the order of the data."""
        return list(self._files)

    def info(self, name: str) -> TensorInfo:
        """dtype, shape and place of one tensor."""
        return self._files[name].tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self.info(name).shape

    def dtype(self, name: str) -> str:
        """dtype of one tensor as the format calls it: F32, F16, BF16, I64 ..."""
        return self.info(name).dtype

    def file(self, name: str) -> Path:
        """The file that holds this tensor."""
        return self._files[name].path

    def read(self, name: str, out: Array | None = None) -> Array:
        """The values of one tensor, converted to the dtype of `out` and copied into it (NumPy or CuPy, C-contiguous).

        Without `out` a new NumPy array in the stored dtype; bfloat16, which NumPy does not have, as float32.
        """
        info = self.info(name)
        if out is None:
            out = np.empty(info.shape, "<f4" if info.dtype == "BF16" else DTYPES[info.dtype])
        if tuple(out.shape) != info.shape or not out.flags.c_contiguous:
            raise ValueError(f"{self.file(name)}: tensor {name!r}: expected a C-contiguous out of shape {info.shape}, "
                             f"got {tuple(out.shape)}")
        flat, xp = out.reshape(-1), array_module(out)
        for part, values in self._files[name].blocks(name):
            flat[part] = values if xp is np else xp.asarray(values)
        return out


def _find_files(path: Path) -> tuple[list[Path], dict[str, str]]:
    """The files to open, and what their index promises: name -> file name."""
    if path.is_file():
        return [path], {}
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; expected a .safetensors file or a folder with one")
    if (path / "model.safetensors").is_file():
        return [path / "model.safetensors"], {}
    if (path / INDEX).is_file():
        expected = _read_index(path / INDEX)
        shards = sorted(set(expected.values()))
        for shard in shards:
            if not (path / shard).is_file():
                raise UserError(f"{path / shard}: missing; {INDEX} names {len(shards)} shards and this is one of them")
        return [path / shard for shard in shards], expected
    if (path / "pytorch_model.bin").is_file():
        raise UserError(f"{path / 'pytorch_model.bin'}: refused: it is a pickle, which can run any code when it is "
                        f"opened; expected model.safetensors. Where torch is installed, this makes it: "
                        f"{PICKLE}{shlex.quote(str(path))}")
    raise UserError(f"{path}: no weights found; expected model.safetensors, or shards with {INDEX}")


def _read_index(path: Path) -> dict[str, str]:
    try:
        index = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not files:
        raise UserError(f"{path}: expected weight_map: {{tensor: file}}, found {str(files)[:80]!r}")
    for name, file in files.items():
        if not isinstance(file, str) or Path(file).name != file:       # a shard lies in the folder itself
            raise UserError(f"{path}: tensor {name!r}: expected the name of a file in this folder, found {file!r}")
    return files
