"""Read tensors from safetensors files directly into the buffers of a model.

safetensors_header.py describes the format and checks the headers.  The data is memory-mapped and copied (and converted) block
by block, and the pages of each block are released at once, so loading takes little memory besides the buffers it fills.

    SafetensorsReader(path)  a folder (one file, or shards with their index) or a file: names, shape, dtype, read

Parameter names: weights/names.py.  Test: tests/weights/test_safetensors_reader.py, test_memory.py
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

BLOCK = 1 << 20                            # weights converted at a time: 4 MB, small compared with the buffers
INDEX = "model.safetensors.index.json"
PICKLE = """python -c "import sys, torch, safetensors.torch as s; f = sys.argv[1]; \
s.save_file({k: v.clone().contiguous() for k, v in \
torch.load(f + '/pytorch_model.bin', 'cpu', weights_only=True).items()}, \
f + '/model.safetensors', {'format': 'pt'})" """


class _MappedFile:
    """One memory-mapped safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path, self.tensors = path, read_header(path)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def stored(self, name: str) -> np.ndarray:
        """Return the stored numbers (n,), in the file and read-only; those of bfloat16 as 16-bit integers."""
        info = self.tensors[name]
        return np.frombuffer(self._map, DTYPES[info.dtype], info.size, info.start)

    def blocks(self, name: str) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (which weights, their values) in order, bfloat16 as float32, and release the pages after each block."""
        info, stored = self.tensors[name], self.stored(name)
        for start in range(0, info.size, BLOCK):
            part = slice(start, min(start + BLOCK, info.size))
            yield part, numbers(stored[part], info.dtype)
            self._release(info.start + part.start * stored.itemsize, info.start + part.stop * stored.itemsize)

    def _release(self, start: int, end: int) -> None:
        """Tell the system to drop these pages; it reads them from disk again if necessary."""
        if hasattr(mmap, "MADV_DONTNEED"):             # elsewhere the system drops them when memory is short
            first = start - start % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, first, end - first)


class SafetensorsReader:
    """All tensors of a folder or a file, under their stored names."""

    def __init__(self, path: str | Path) -> None:
        """`path`: a .safetensors file, or a folder with model.safetensors or with shards and their index."""
        self.path = Path(path)
        files, expected = _find_files(self.path)
        self._files: dict[str, _MappedFile] = {}
        for file in map(_MappedFile, files):
            for name in file.tensors:
                if name in self._files:
                    raise UserError(f"{file.path}: tensor {name!r} is also in {self._files[name].path.name}")
                self._files[name] = file
        for name, shard in expected.items():
            if name not in self._files or self._files[name].path.name != shard:
                raise UserError(f"{self.path / shard}: tensor {name!r} is missing, although {INDEX} lists it there")

    def names(self) -> list[str]:
        """Return the stored names, in the order of the data."""
        return list(self._files)

    def info(self, name: str) -> TensorInfo:
        """Return dtype, shape and position of a tensor."""
        return self._files[name].tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self.info(name).shape

    def dtype(self, name: str) -> str:
        """Return the dtype of a tensor in the format's terms: F32, F16, BF16, I64 ..."""
        return self.info(name).dtype

    def file(self, name: str) -> Path:
        """Return the file that holds a tensor."""
        return self._files[name].path

    def stored(self, name: str) -> np.ndarray:
        """Return a tensor as it lies in the file, read-only; bfloat16 as 16-bit integers: see `numbers`."""
        return self._files[name].stored(name).reshape(self.shape(name))

    def read(self, name: str, out: Array | None = None) -> Array:
        """Copy a tensor into `out` (NumPy or CuPy, C-contiguous), converted to its dtype, and return it.

        Without `out`, return a new NumPy array of the stored dtype, or float32 for bfloat16, which NumPy lacks.
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


def numbers(stored: np.ndarray, dtype: str) -> np.ndarray:
    """Return stored numbers as NumPy knows them: a bfloat16, which it lacks, is the upper half of a float32."""
    return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32) if dtype == "BF16" else stored


def _find_files(path: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the files to open, and what their index lists: name -> file name."""
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
                raise UserError(f"{path / shard}: missing; it is one of the {len(shards)} shards that {INDEX} lists")
        return [path / shard for shard in shards], expected
    if (path / "pytorch_model.bin").is_file():
        raise UserError(f"{path / 'pytorch_model.bin'}: expected model.safetensors, found a pickle, which can run any code "
                        f"when opened; where torch is installed, convert it with: "
                        f"{PICKLE}{shlex.quote(str(path))}")
    raise UserError(f"{path}: no weights found; expected model.safetensors, or shards with {INDEX}")


def _read_index(path: Path) -> dict[str, str]:
    files = read_json(path).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise UserError(f"{path}: expected weight_map: {{tensor: file}}, found {str(files)[:80]!r}")
    for name, file in files.items():
        if not isinstance(file, str) or Path(file).name != file:       # shards must be in the folder itself
            raise UserError(f"{path}: tensor {name!r}: expected the name of a file in this folder, found {file!r}")
    return files
