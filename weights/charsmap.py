"""Encode a normaliser table as the character map of SentencePiece models, which `tokenizers` calls Precompiled.

The map is: u32 length in bytes of a trie, the trie, then the replacements as zero-terminated UTF-8.  The trie is a
double array (Aoe 1989, "An efficient digital search algorithm by using a double-array structure") of u32 units over the
bytes of the keys.  A unit at position p whose children start from `base` is

    bits 10-30  p xor base          bit 8  whether a key ends here          bits 0-7  the byte that leads here

the child for byte c is the unit at base xor c, and where a key ends the unit at `base` holds 2^31 + the offset of its
replacement.  Normalising a text then takes one pass, however long the table; the alternative, thousands of Replace
normalisers, would take as many passes.

Test: tests/weights/test_charsmap.py
"""
from __future__ import annotations

import struct
import sys
import unicodedata
from collections.abc import Mapping

import numpy as np

HAS_LEAF, IS_VALUE, MAX_OFFSET = 1 << 8, 1 << 31, 1 << 21
GRAPHEME_BYTES = 6                         # `tokenizers` looks up graphemes shorter than this, then single characters
Node = dict[int, "Node | int"]             # byte -> child; 0 -> offset of the replacement of the key that ends here


def precompiled_charsmap(replacements: Mapping[str, str]) -> bytes:
    """Build the bytes for tokenizers.normalizers.Precompiled.  Keys and values must not contain U+0000.

    A grapheme of under 6 bytes is replaced as a whole by the shortest key that begins it; otherwise each character is replaced.
    That is the rule of `tokenizers`, which published models of this kind rely on.
    """
    root: Node = {}
    texts, offsets = bytearray(), dict[str, int]()
    for key, value in replacements.items():
        if value not in offsets:
            offsets[value] = len(texts)
            texts += value.encode() + b"\0"
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})           # type: ignore[assignment]
        node[0] = offsets[value]
    trie = _double_array(root).tobytes()
    return struct.pack("<I", len(trie)) + trie + bytes(texts)


def _double_array(root: Node) -> np.ndarray:
    """Place each node where all its children find free units.  -> (units,) uint32."""
    taken, bases = {0}, set[int]()
    units: dict[int, int] = {0: 0}
    cursors: dict[int, int] = {}                       # where the next search starts: see below
    queue: list[tuple[int, Node]] = [(0, root)]
    for position, node in queue:                       # grows during the loop: breadth first
        lowest = min(node)
        # A place that once did not fit an only child with this byte never will, so each search starts where the last one ended.
        # Nodes with several children share a cursor: the many only children fill the gaps they leave.
        kind = lowest if len(node) == 1 else -1
        place = cursors.get(kind, 1)                   # of the lowest child; the others follow from it
        while (base := place ^ lowest) in bases or any(base ^ byte in taken for byte in node) or base == position:
            place += 1
        cursors[kind] = place
        assert position ^ base < MAX_OFFSET, "the table is too long for this layout"
        bases.add(base)
        units[position] |= (position ^ base) << 10 | (HAS_LEAF if 0 in node else 0)
        for byte, child in node.items():
            taken.add(base ^ byte)
            if isinstance(child, dict):
                units[base ^ byte] = byte
                queue.append((base ^ byte, child))
            else:
                units[base] = IS_VALUE | child
    array = np.zeros(max(units) // 256 * 256 + 256, "<u4")     # a full block, so that base xor byte stays inside
    array[list(units)] = list(units.values())
    return array


def compositions() -> dict[str, str]:
    """Map a letter with combining marks to its composed character ("e" + U+0301 -> "é"), as NFKC does.

    For tables that list only single code points, so that decomposed text finds its pieces too.  Omits keys longer than
    `tokenizers` looks up (Hangul, letters with several marks).
    """
    composed: dict[str, str] = {}
    for character in map(chr, range(sys.maxunicode + 1)):
        parts = unicodedata.decomposition(character).split()
        if parts and not parts[0].startswith("<") and unicodedata.normalize("NFKC", character) == character:
            one_step = "".join(chr(int(part, 16)) for part in parts)
            composed |= {key: character for key in (one_step, unicodedata.normalize("NFD", character))
                         if len(key.encode()) < GRAPHEME_BYTES}
    return composed
