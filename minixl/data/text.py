"""Read raw text: one sentence or paragraph per line, plain or gzipped; blank lines are skipped."""
from __future__ import annotations

from minixl.data.examples import Document
from minixl.data.lines import PathLike, read_lines
from minixl.errors import UserError


def read_text(path: PathLike, *, encoding: str = "utf-8") -> list[Document]:
    """Return each non-blank line, stripped, as a document without a label.

    Raises UserError for a file that cannot be read (minixl.data.lines) or has no text.
    """
    documents = [Document(line.strip(), None, number) for number, line in enumerate(read_lines(path, encoding), 1) if line.strip()]
    if not documents:
        raise UserError(f"{path}: expected one sentence or paragraph per line, found no text; is this the right file?")
    return documents
