"""Where the words of a raw text are."""
from __future__ import annotations

import re

# A word is a run of letters and digits with inner apostrophes, hyphens, points or commas between digits; every other
# visible character stands alone, and so does every Chinese character.  Thai and other scripts that write no spaces
# should be handed in as CoNLL, already cut into words.
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{HAN}]|\d+(?:[.,]\d+)+|(?:(?![{HAN}])\w)+(?:['’\-](?:(?![{HAN}])\w)+)*|[^\w\s]")


def split_words(text: str) -> list[tuple[int, int]]:
    """Character ranges of the words of a text."""
    return [match.span() for match in WORD.finditer(text)]
