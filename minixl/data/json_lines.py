"""Read JSON lines: one object per line, blank lines skipped; and sentences as `datasets` exports them.

    {"tokens": ["Anna", "lives"], "ner_tags": ["B-PER", "O"]}      tags are names: the file does not say what numbers mean
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from minixl.data.conll import ConllFile, in_iob2
from minixl.data.examples import Sentence
from minixl.data.header import LABEL_COLUMN, TEXT_COLUMN, USUAL, Columns, missing_key
from minixl.data.lines import PathLike, quoted, read_lines
from minixl.errors import UserError

TAG_KEYS = {"ner": ("ner_tags", "tags"), "pos": ("pos_tags", "upos", "tags")}         # by task, the first that an object has
TOKENS = "tokens"


def read_objects(lines: Iterable[str], path: PathLike, keys: str, example: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line, from 1, and its object.  keys, example: for the message where a line has none."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, parse_object(line, number, path, keys, example)


def parse_object(line: str, number: int, path: PathLike, keys: str, example: str) -> dict[str, Any]:
    """Return the object on a line.  Raises UserError as read_objects does."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{number}: expected one JSON object per line, found {quoted(line)} "
                        f"({error.msg}, column {error.colno}); put each object on one line") from None
    except (RecursionError, ValueError) as error:                     # ValueError: more digits than Python converts
        problem = "values nested too deeply" if isinstance(error, RecursionError) else "a number of too many digits"
        raise UserError(f"{path}:{number}: expected one JSON object per line, found {problem} in {quoted(line)}; "
                        "correct it") from None
    if not isinstance(entry, dict):
        raise UserError(f"{path}:{number}: expected a JSON object with the keys {keys}, "
                        f"found {quoted(line)}; write {example}")
    return entry


def check_unicode(text: str, key: str, path: PathLike, number: int) -> None:
    """Raises UserError for half of a surrogate pair: JSON can write one, UTF-8 cannot."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"{path}:{number}: expected valid Unicode in {key!r}, found half of a surrogate pair; "
                        "export the file again with complete characters")


def has_tokens(lines: Iterable[str], columns: Columns = USUAL) -> bool:
    """Whether the first line that is not blank is an object with tokens, or with a list under the key that the user named."""
    first = next((line for line in lines if line.strip()), "")
    try:
        entry = json.loads(first)
    except (RecursionError, ValueError):
        return False
    return isinstance(entry, dict) and (isinstance(entry.get(columns.text), list) if columns.text else TOKENS in entry)


def read_tokens(task: str, path: PathLike, *, encoding: str = "utf-8", tags: bool = True, scheme: str | None = None,
                columns: Columns = USUAL) -> ConllFile:
    """Read the sentences of a file of tokens and tags, as read_conll does.  columns: keys that the user named."""
    sentences = []
    tokens, tag_keys = columns.text or TOKENS, (columns.label,) if columns.label else TAG_KEYS[task]
    keys, example = f"{tokens} and {tag_keys[0]}", f'{{"{tokens}": [...], "{tag_keys[0]}": [...]}}'
    for number, entry in read_objects(read_lines(path, encoding), path, keys, example):
        words = _strings(entry, (tokens,), TEXT_COLUMN, path, number)
        values = _strings(entry, tag_keys, LABEL_COLUMN, path, number) if tags else None
        if values is not None and len(values) != len(words):
            raise UserError(f"{path}:{number}: expected one tag for each of {len(words)} tokens, found {len(values)}; correct it")
        if words:
            sentences.append(Sentence(words, values, number, (number,) * len(words)))
    if not sentences:
        raise UserError(f"{path}: expected one sentence per line, found none; is this the right file?")
    return in_iob2(sentences, str(path), scheme) if tags else ConllFile(sentences, "none", str(path))


def _strings(entry: dict[str, Any], keys: tuple[str, ...], setting: str, path: PathLike, number: int) -> tuple[str, ...]:
    """Return the strings under the first key that the object has.  setting: names another key."""
    key = next((key for key in keys if key in entry), "")
    if not key:
        raise missing_key(" or ".join(map(repr, keys)), setting, list(entry), path, number)
    values = entry[key]
    if setting == LABEL_COLUMN and isinstance(values, list) and values and all(type(value) is int for value in values):
        raise UserError(f"{path}:{number}: expected the names of tags in {key!r}, found numbers such as {values[0]}; write the "
                        "names, since the file does not say what the numbers mean")
    if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
        raise UserError(f"{path}:{number}: expected a list of strings that are not empty for {key!r}, found "
                        f"{quoted(json.dumps(values))}; correct it")
    for value in values:
        check_unicode(value, key, path, number)
    return tuple(value.strip() for value in values)
