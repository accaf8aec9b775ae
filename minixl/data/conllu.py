"""CoNLL-U: ten columns separated by tabs, the word in FORM and its part of speech in UPOS.

    1 <tab> Vámonos <tab> ir <tab> VERB <tab> ...        universaldependencies.org/format.html

Lines of multiword tokens (1-2), lines of empty nodes (1.1) and comments (#) hold no word that is tagged.
"""
from __future__ import annotations

import re
from collections.abc import Sequence

from minixl.data.lines import PathLike, file_format
from minixl.errors import UserError

COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
FORM, UPOS, MISC = (COLUMNS.index(name) for name in ("FORM", "UPOS", "MISC"))
ROW = re.compile(r"\d+([-.]\d+)?" + r"\t[^\t]*" * (len(COLUMNS) - 1))
NO_WORD = re.compile(r"#|\d+[-.]\d+\t")            # how a comment, a multiword token and an empty node begin
ENTITY, CONFIDENCE = "NE=", "Confidence="          # begin an entity tag and its confidence in MISC


def is_conllu(lines: Sequence[str], name: PathLike = "") -> bool:
    """Whether the name ends in .conllu or all rows of the first sentence are numbered and have ten columns."""
    if file_format(name) == ".conllu":
        return True
    rows = 0
    for line in lines:
        if line.startswith("#"):
            continue
        if not line.strip():
            if rows:
                break
        elif not ROW.fullmatch(line):
            return False
        else:
            rows += 1
    return rows > 0


def holds_word(line: str) -> bool:
    """Whether a line that is not blank holds a word."""
    return not NO_WORD.match(line)


def check_row(row: Sequence[str], place: str, tags: bool) -> None:
    """Raises UserError unless the row has ten columns, a number and a word and, with tags=True, a part of speech."""
    if len(row) != len(COLUMNS):
        raise UserError(f"{place}: expected the {len(COLUMNS)} columns of CoNLL-U separated by tabs, found {len(row)}; complete "
                        "the line")
    if not row[0].isdecimal():
        raise UserError(f"{place}: expected the number of the word in column 1 of CoNLL-U, found {row[0]!r}; correct it")
    for column, wanted in ((FORM, "a word"), (UPOS, "a part of speech")):
        if not row[column] or (row[column] == "_" and column == UPOS):
            if column == FORM or tags:
                raise UserError(f"{place}: expected {wanted} in column {column + 1} ({COLUMNS[column]}), found "
                                f"{row[column] or 'nothing'}; add it")


def with_tag(line: str, tag: str, entities: bool, confidence: str = "") -> str:
    """Write a part of speech into UPOS, or an entity tag into MISC as NE=B-PER, and a confidence; they replace earlier ones."""
    cells = line.split("\t")
    added = {ENTITY: tag if entities else "", CONFIDENCE: confidence}
    if not entities:
        cells[UPOS] = tag
    if any(added.values()):
        replaced = tuple(key for key, value in added.items() if value)
        others = [part for part in cells[MISC].split("|") if part not in ("", "_") and not part.startswith(replaced)]
        cells[MISC] = "|".join([*others, *(key + value for key, value in added.items() if value)])
    return "\t".join(cells)
