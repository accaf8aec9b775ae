"""What the readers of this package return: sentences with tags, documents with labels."""
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sentence:
    """A tokenised sentence."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None   # one a word; None when they were not read
    line: int                      # 1-based line of the first word in its file


@dataclass(frozen=True, slots=True)
class Document:
    """A text to classify."""

    text: str
    label: str | None              # None when it was not read
    line: int                      # 1-based line in its file
