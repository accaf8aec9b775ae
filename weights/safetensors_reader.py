"""Reading safetensors files: tensors copied straight to where they belong.

The format, and the checks of a file's header: safetensors_header.py.  The data is memory-mapped, copied (and converted)
block by block, and every block's pages are handed back at once: loading costs the buffers it fills and little more.

    Checkpoint(path)         a folder (one file, or shards with their index) or a file: names, shape, dtype, read

Names and what they become: weights/names.py.  Test: tests/weights/test_safetensors_reader.py, test_memory.py
"""
from __future__ import annotations

import mmap
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minixl.backend import Array, array_module
from minixl.errors import UserError
from minixl.weights.reading import read_json
from minixl.weights.safetensors_header import DTYPES, TensorInfo, read_header

BLOCK = 1 << 20                            # weights converted at a time: 4 MB, small beside any buffer it fills
INDEX = "model.safetensors.index.json"
PICKLE = """python -c "import sys, torch, safetensors.torch as s; f = sys.argv[1]; \
s.save_file({k: v.clone().contiguous() for k, v in \
torch.load(f + '/pytorch_model.bin', 'cpu', weights_only=True).items()}, \
f + '/model.safetensors', {'format': 'pt'})" """


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
    files = read_json(path).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise UserError(f"{path}: expected weight_map: {{tensor: file}}, found {str(files)[:80]!r}")
    for name, file in files.items():
        if not isinstance(file, str) or Path(file).name != file:       # a shard lies in the folder itself
            raise UserError(f"{path}: tensor {name!r}: expected the name of a file in this folder, found {file!r}")
    return files
