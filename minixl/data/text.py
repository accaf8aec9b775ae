"""Raw text: one sentence or paragraph a line, plain or gzip; blank lines are skipped."""
from __future__ import annotations

from collections.abc import Iterator

from minixl.data.examples import Document
from minixl.data.lines import PathLike, read_lines
from minixl.errors import UserError


def iterate_text(path: PathLike, *, encoding: str = "utf-8") -> Iterator[Document]:
    """The lines that are not blank, without white space around them and without a label, one at a time.

    Raises UserError for a file that cannot be read (minixl.data.lines) and, at the end, for one without any text.
    """
    found = False
    for number, line in enumerate(read_lines(path, encoding), 1):
        text = line.strip()
        if text:
            found = True
            yield Document(text, None, number)
    if not found:
        raise UserError(f"{path}: expected a sentence or paragraph a line, found no text; is this the right file?")


def read_text(path: PathLike, *, encoding: str = "utf-8") -> list[Document]:
    """All of iterate_text at once."""
    return list(iterate_text(path, encoding=encoding))
