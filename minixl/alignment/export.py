"""Write vectors in the shared space as .vec and safetensors, block by block, and the induced dictionary.

A file may be larger than memory: its vectors are read a block at a time, normalised with the means of the words that the map was
learnt from, mapped, and appended to the safetensors file, whose header is filled in at the end.  The .vec file, which begins
with the number of words, is then written from that.

    vectors   (V, H) float32     words   (bytes,) uint8: the words in UTF-8, one a line, in the order of the rows

Test: tests/alignment/test_align.py
"""
from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minixl.alignment.retrieval import induce
from minixl.alignment.spaces import Space
from minixl.backend import Array, to_numpy
from minixl.files import replaced_file
from minixl.settings import Settings
from minixl.weights.word_vectors import WordVectors, stream_vectors

BLOCK = 4096                                       # vectors in memory at a time
HEADER = 512                                       # bytes of the safetensors header, filled up with spaces


def write_language(out: Path, space: Space, mapping: np.ndarray | None, settings: Settings, report: Callable[[str], None]) -> int:
    """Write LANGUAGE.safetensors and LANGUAGE.vec; return the number of words.  mapping (H, H): None if they stay in place."""
    path = out / f"{space.language}.safetensors"
    words: list[str] = []
    with replaced_file(path) as fresh:
        with open(fresh, "wb") as file:
            file.write(bytes(8 + HEADER))
            for block_words, matrix in _blocks(space, settings, report):
                matrix = space.normalization.apply(matrix)
                file.write(np.ascontiguousarray(matrix if mapping is None else matrix @ mapping.T, np.float32).tobytes())
                words += block_words
            text = "\n".join(words).encode()
            file.write(text)
            file.seek(0)
            file.write(_header(len(words), space.words.dim, len(text)))
    vectors = np.memmap(path, np.float32, "r", 8 + HEADER, (len(words), space.words.dim))
    with replaced_file(out / f"{space.language}.vec") as fresh, open(fresh, "w", encoding="utf-8") as lines:
        lines.write(f"{len(words)} {space.words.dim}\n")
        for word, vector in zip(words, vectors, strict=True):
            lines.write(f"{word} {' '.join(f'{value:.6g}' for value in vector.tolist())}\n")
    return len(words)


def _blocks(space: Space, settings: Settings, report: Callable[[str], None]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield the words and vectors to write: all of the file, or those that were read."""
    if settings["align.export"] == "all" and settings["align.top"] and len(space.words) >= settings["align.top"]:
        yield from stream_vectors(space.words.path, BLOCK, report=report)
        return
    for first in range(0, len(space.words), BLOCK):
        yield space.words.words[first:first + BLOCK], space.words.matrix[first:first + BLOCK]


def _header(words: int, dim: int, text: int) -> bytes:
    size = 4 * words * dim
    entries: dict[str, Any] = {"vectors": {"dtype": "F32", "shape": [words, dim], "data_offsets": [0, size]},
                               "words": {"dtype": "U8", "shape": [text], "data_offsets": [size, size + text]}}
    return struct.pack("<Q", HEADER) + json.dumps(entries).encode().ljust(HEADER)


def write_dictionary(path: Path, x: Array, y: Array, source: WordVectors, target: WordVectors, engine: Any) -> int:
    """Write the mutual translations, TAB-separated with their CSLS, frequent source words first; return their number."""
    pairs = induce(x, y, engine=engine)
    rows = zip(*(to_numpy(array).tolist() for array in pairs), strict=True)
    with replaced_file(path) as fresh:
        fresh.write_text("".join(f"{source.words[i]}\t{target.words[j]}\t{score:.4f}\n" for i, j, score in rows),
                         encoding="utf-8")
    return len(pairs.source)
