"""Shared by the methods that make pseudo-labels: the warning about an audit without labels; reading the tables of their report.

Test: tests/methods/test_records.py
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minixl.data.corpus import Corpus
from minixl.data.examples import TAGGING
from minixl.errors import WARNING, UserError
from minixl.methods.gold import read_gold
from minixl.settings import Settings


def audit_warnings(name: str, settings: Settings, corpora: Sequence[Corpus]) -> list[str]:
    """Return a warning for each unlabelled text that has no labels, if the setting of this name asks for an audit."""
    if not settings[name]:
        return []
    labels, gold = "tags" if settings["task"] in TAGGING else "labels", read_gold(settings, corpora)
    return [f"{WARNING}{name}: {' or '.join(map(str, (corpus.path, *corpus.more)))} has no {labels} to compare pseudo-labels with"
            for corpus in corpora if corpus.language not in gold]


def read_table(path: Path, kind: type[list] | type[dict]) -> Any:
    """Return the list or dictionary that a JSON file holds, an empty one without the file.  Raises UserError if it is damaged."""
    if not path.is_file():
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        problem = f"a damaged file ({error})"
    else:
        if isinstance(content, kind):
            return content
        problem = "other content"
    raise UserError(f"{path}: expected the tables of a report, found {problem}; put it back, or delete it for a report "
                    "without them")
