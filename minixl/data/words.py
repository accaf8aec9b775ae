"""Find the words of raw text."""
from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain, groupby

# A word is a run of letters and digits with inner apostrophes and hyphens, or a number with points or commas between digits;
# every other visible character is a word of its own, and so is every Chinese character.  Accents, vowel signs (Unicode's
# marks) and JOINERS belong to the character before them; without one they belong to no word, like UNSEEN characters.  Text in
# Thai and other scripts without spaces should come as CoNLL, already split into words.
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff]")     # Thai, Lao, Burmese, Khmer; kana
JOINERS = "\u00ad\u200c\u200d"                        # soft hyphen, zero width non-joiner and joiner
UNSEEN = "\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"     # controls, directions, empty spaces


def split_words(text: str) -> list[tuple[int, int]]:
    """Return the character range of each word of a text."""
    return [match.span() for match in _pattern().finditer(text)]


def find_words(text: str) -> list[str]:
    """Return the words of a text."""
    return _pattern().findall(text)


@cache
def _pattern() -> re.Pattern[str]:
    """Compile the pattern on first use: finding the marks takes some hundredths of a second."""
    inner = marks() + JOINERS
    run = rf"[^\W{HAN}]+(?:[{inner}]+[^\W{HAN}]*)*"
    return re.compile(rf"(?:[{HAN}]|\d+(?:[.,]\d+)+|[^\w\s{UNSEEN}{inner}])[{inner}]*|{run}(?:['’\-]{run})*")


def marks() -> str:
    """Return Unicode's marks (categories Mn, Mc, Me) as ranges for a character class."""
    planes = chain(range(0x20000), range(0xE0000, 0xE1000))     # between and after them: Chinese, nothing, private use
    codes = [code for code in planes if unicodedata.category(chr(code))[0] == "M"]
    ranges = [[code for _, code in run] for _, run in groupby(enumerate(codes), lambda place: place[1] - place[0])]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in ranges)
