"""Raw text: one sentence or paragraph a line, plain or gzip; blank lines are skipped."""
from __future__ import annotations

from minixl.data.examples import Document
from minixl.data.lines import PathLike, read_lines
from minixl.errors import UserError


def read_text(path: PathLike, *, encoding: str = "utf-8") -> list[Document]:
    """The lines that are not blank, without white space around them and without a label.

    Raises UserError for a file that cannot be read (minixl.data.lines) and for one without any text.
    """
    found = [Document(line.strip(), None, number) for number, line in enumerate(read_lines(path, encoding), 1) if line.strip()]
    if not found:
        raise UserError(f"{path}: expected a sentence or paragraph a line, found no text; is this the right file?")
    return found
