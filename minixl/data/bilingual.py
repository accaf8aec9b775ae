"""Read a bilingual dictionary, such as those of MUSE.

    cat gato          a source word and its translation, separated by white space; a word with several has several lines
"""
from __future__ import annotations

from collections.abc import Iterator

from minixl.data.lines import PathLike, quoted, read_lines
from minixl.errors import UserError


def read_pairs(path: PathLike, encoding: str = "utf-8") -> Iterator[tuple[str, str]]:
    """Yield a source word and its translation for each line.

    Raises UserError for a line without two words, and for a file without lines.
    """
    empty = True
    for number, line in enumerate(read_lines(path, encoding), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise UserError(f"{path}:{number}: expected a source word and its translation, separated by a space or tab, found "
                            f"{quoted(line)}")
        empty = False
        yield fields[0], fields[1]
    if empty:
        raise UserError(f"{path}: expected lines with a source word and its translation, found an empty file")


def read_translations(path: PathLike, encoding: str = "utf-8") -> dict[str, list[str]]:
    """Return the translations of each source word, in the order of the file, each once."""
    translations: dict[str, dict[str, None]] = {}
    for source, target in read_pairs(path, encoding):
        translations.setdefault(source, {})[target] = None
    return {source: list(targets) for source, targets in translations.items()}
