"""OUT/predictions/LANGUAGE.jsonl: a test file's gold labels and the selected model's predictions, one line an input.

    {"line": 1, "gold": ["B-PER", "O"], "predicted": ["B-PER", "B-LOC"]}       tags of a sentence, IOB2 or plain
    {"line": 1, "gold": "home", "predicted": "travel"}                          label of a document

line: where the input begins in the test file.  A truncated sentence has fewer predicted tags than words.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minixl.data.corpus import Corpus
from minixl.data.examples import TAGGING
from minixl.errors import UserError
from minixl.files import write_atomically

FOLDER = "predictions"


class Predictions(NamedTuple):
    """Gold and predicted tags of every sentence, or labels of every document, and where these begin in the test file."""

    lines: list[int]
    gold: list[Any]
    predicted: list[Any]


def write_predictions(run: Path, corpus: Corpus, predicted: Sequence[Any]) -> None:
    """Write the predictions on one test file into a run folder, atomically."""
    inputs: list[Any] = list(corpus.inputs)
    rows = ({"line": item.line, "gold": gold, "predicted": labels}
            for item, gold, labels in zip(inputs, corpus.gold(), predicted, strict=True))
    write_atomically(run / FOLDER / f"{corpus.language}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_predictions(run: Path, language: str, task: str, fix: str) -> Predictions | None:
    """Read the predictions of a run on one test file; None if it has none.  Raises UserError, ending with `fix`, for damage."""
    path = run / FOLDER / f"{language}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {fix}") from None
    predictions = Predictions([], [], [])
    for number, text in enumerate(lines, 1):
        try:
            row = json.loads(text)
        except ValueError:
            row = None
        if not (isinstance(row, dict) and isinstance(row.get("line"), int)
                and all(_is_label(row.get(name), task) for name in ("gold", "predicted"))):
            raise UserError(f"{path}:{number}: expected line, gold and predicted of the task {task}, found {text[:40]!r}; {fix}")
        for values, name in zip(predictions, ("line", "gold", "predicted"), strict=True):
            values.append(row[name])
    return predictions


def _is_label(value: Any, task: str) -> bool:
    if task in TAGGING:
        return isinstance(value, list) and all(isinstance(tag, str) for tag in value)
    return isinstance(value, str)
