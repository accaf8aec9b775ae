"""A Unigram tokenizer for little text, without the index over its whole vocabulary.

`tokenizers` takes most of a second and 300 MB to index the 250,000 pieces of XLM-R.  Splitting a word needs only the pieces that
occur in it (Kudo 2018: the best path over them), so for little text a tokenizer with just these gives the same pieces:

    bare        the tokenizer without pieces: it normalises and cuts text, and returns each part as one unknown piece
    kept        the pieces of the vocabulary among all substrings of the parts, the special ones, and the one with the lowest
                score, from which the score of an unknown character derives
    ids         position among the kept pieces -> position in the vocabulary

Test: tests/weights/test_few_pieces.py, against the whole tokenizer
"""
from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

LARGE = 20_000            # pieces; a smaller vocabulary is indexed at once
MUCH = 20_000             # characters of text that are read without the index, from then on it pays


class FewPieces:
    """The vocabulary of a Unigram tokenizer.json, and tokenizers with a few of its pieces."""

    def __init__(self, content: dict[str, Any]) -> None:
        """content: of tokenizer.json.  Raises an exception of some kind for one that is not as expected: use the index."""
        model = content["model"]
        pieces = model["vocab"]
        self.ids: dict[str, int] = dict(zip((piece for piece, _ in pieces), range(len(pieces)), strict=True))
        self._scores = np.array([score for _, score in pieces], np.float64)
        self._added = content["added_tokens"]
        special = [model["unk_id"], *(self.ids[token["content"]] for token in self._added)]
        if (model["type"] != "Unigram" or len(self.ids) < max(LARGE, len(pieces)) or model.get("byte_fallback")
                or special[1:] != [token["id"] for token in self._added]):
            raise ValueError("tokenizer.json: expected a large Unigram vocabulary that holds all added tokens")
        self._pieces, self._longest = list(self.ids), max(map(len, self.ids))
        self._special, self._unknown, self._lowest = set(special), special[0], int(self._scores.argmin())
        self._rest = {key: value for key, value in content.items() if key not in ("post_processor", "decoder")}
        self._rest["model"] = {key: value for key, value in model.items() if key != "vocab"}
        self._bare, self.read = self._tokenizer(sorted(self._special)), 0

    def encode(self, texts: Sequence[str] | Sequence[list[str]], is_words: bool) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Return ids and character ranges of each text; is_words: each is a list of words."""
        parts = {token for encoding in self._bare.encode_batch(texts, is_words, add_special_tokens=False)
                 for token in encoding.tokens}
        candidates = {part[first:end] for part in parts for first in range(len(part))
                      for end in range(first + 1, min(len(part), first + self._longest) + 1)}
        kept = sorted({*self._special, self._lowest, *(self.ids[piece] for piece in candidates & self.ids.keys())})
        encodings = self._tokenizer(kept).encode_batch(texts, is_words, add_special_tokens=False)
        return [([kept[number] for number in encoding.ids], encoding.offsets) for encoding in encodings]

    def has_room(self, characters: int) -> bool:
        """Count characters that are about to be read; return whether all so far are few enough."""
        self.read += characters
        return self.read <= MUCH

    def text_of(self, number: int) -> str:
        """Return the piece with an id."""
        return self._pieces[number] if number < len(self._pieces) else ""

    def _tokenizer(self, kept: Sequence[int]) -> tokenizers.Tokenizer:
        """Return the tokenizer with the pieces of these ids, in this order."""
        place = {number: i for i, number in enumerate(kept)}
        model = {**self._rest["model"], "unk_id": place[self._unknown],
                 "vocab": [(self._pieces[number], float(self._scores[number])) for number in kept]}
        added = [{**token, "id": place[token["id"]]} for token in self._added]
        small = tokenizers.Tokenizer.from_str(json.dumps({**self._rest, "model": model, "added_tokens": added}))
        small.no_truncation()
        small.no_padding()
        return small


def few_pieces(path: Path) -> FewPieces | None:
    """Read tokenizer.json; None unless it has a large Unigram vocabulary of the usual form."""
    if not path.is_file() or path.stat().st_size < 20 * LARGE:
        return None
    collecting = gc.isenabled()
    gc.disable()                       # it would look through half a million new objects several times
    try:
        return FewPieces(json.loads(path.read_bytes()))
    except Exception:                  # whatever is wrong with the file, tokenizers will say
        return None
    finally:
        if collecting:
            gc.enable()
