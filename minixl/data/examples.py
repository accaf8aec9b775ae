"""What the readers return: a sentence with a tag per word, or a text with a label."""
from dataclasses import dataclass

TAGGING = ("ner", "pos")          # tasks that label words; classification labels documents


@dataclass(frozen=True, slots=True)
class Sentence:
    words: tuple[str, ...]
    tags: tuple[str, ...] | None      # one per word; None if the file has no tags or they were not read
    line: int                         # of the first word, from 1; word i is on line + i


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    label: str | None                 # None if the file has no labels or they were not read
    line: int                         # where the text starts, from 1
