"""What the readers hand over: one sentence with a tag per word, or one text with a label."""
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sentence:
    words: tuple[str, ...]
    tags: tuple[str, ...] | None      # one a word; None where the file has no tags or they were not read
    line: int                         # line of the first word, from 1; word i stands on line + i


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    label: str | None                 # None where the file has no labels or they were not read
    line: int                         # line the text starts on, from 1
