"""What the readers return: a sentence with a tag per word, or a text with a label."""
from __future__ import annotations

import os
from dataclasses import dataclass

TAGGING = ("ner", "pos")          # tasks that label words; classification labels documents


@dataclass(frozen=True, slots=True)
class Sentence:
    words: tuple[str, ...]
    tags: tuple[str, ...] | None      # one per word; None if the file has no tags or they were not read
    line: int                         # of the first word, from 1
    lines: tuple[int, ...] = ()       # of every word, if word i is not on line + i
    path: str = ""                    # of the file; "" in a corpus of one file

    def line_of(self, i: int) -> int:
        """Return the line of word i."""
        return self.lines[i] if self.lines else self.line + i

    def place(self, corpus: str | os.PathLike[str], word: int | None = None) -> str:
        """Return FILE:LINE of the sentence, or of a word, for messages.  corpus: the path of its corpus."""
        return f"{self.path or corpus}:{self.line if word is None else self.line_of(word)}"


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    label: str | None                 # None if the file has no labels or they were not read
    line: int                         # where the text starts, from 1
    path: str = ""                    # of the file; "" in a corpus of one file
    hint: str = ""                    # a warning if this looks like the header of its file

    def place(self, corpus: str | os.PathLike[str]) -> str:
        """Return FILE:LINE for messages.  corpus: the path of its corpus."""
        return f"{self.path or corpus}:{self.line}"
