"""log.jsonl: a line for every update and every evaluation of a stage.

    {"kind": "update", "step": 0, "loss": "task", "value": 1.9, "gradient_norm": ..., "lr": ..., "tokens": ..., "accuracy": null}
    {"kind": "evaluation", "step": 25, "dev": {"en": {"f1": ...}}, "test": {...}}        test only with train.score_tests

The step of an update counts from 0; that of an evaluation is the number of steps made so far.
"""
from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minixl.distributed import group, on_one_rank
from minixl.errors import UserError
from minixl.evaluation.scores import figures
from minixl.files import ROOM
from minixl.training.update import Update

Record = dict[str, Any]


class Log:
    """Writes the log of a run folder during training.  cure: ends the error message if it cannot be written."""

    def __init__(self, folder: Path, cure: str = ROOM) -> None:
        self.path, self.cure = folder / "log.jsonl", cure

    def update(self, update: Update) -> None:
        """Append the record of an update."""
        self._write({"kind": "update", **update._asdict()})

    def evaluation(self, step: int, scores: Mapping[str, Any], **others: Any) -> None:
        """Append the figures of an evaluation; scores: "dev" and perhaps "test" -> language -> score.  others: other figures."""
        self._write({"kind": "evaluation", "step": step, **{part: figures(of_part) for part, of_part in scores.items()}, **others})

    def clear(self) -> None:
        """Start an empty log."""
        if group().leads:
            self.path.write_text("", encoding="utf-8")

    def sync(self) -> int:
        """Flush the log to disk; return its length in bytes, for a checkpoint."""
        if not group().leads:
            return 0                               # only the leading process writes the checkpoint
        with open(self.path, "ab") as log:
            os.fsync(log.fileno())
        return self.path.stat().st_size

    @on_one_rank
    def shorten(self, size: int) -> None:
        """Remove the records after the checkpoint at `size` bytes: they will be written again."""
        length = self.path.stat().st_size if self.path.is_file() else 0
        if length < size:
            raise UserError(f"{self.path}: expected the {size} bytes that were there at the last checkpoint, found {length}; put "
                            "the whole file back, or start again with a new --out folder")
        with open(self.path, "r+b") as log:
            log.truncate(size)

    def _write(self, record: Record) -> None:
        if not group().leads:
            return
        try:
            with open(self.path, "a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
        except OSError as error:                   # a full disk, whose error names no file
            raise UserError(f"{self.path}: cannot be written ({error.strerror or error}); {self.cure}") from None


def read_log(folder: Path, figure: str, cure: str | None = None) -> list[Record]:
    """Read the records of a run, without a last line that is still being written.

    figure: the score that every evaluation must have.  Raises UserError for a line that is not a record, ending with `cure`.
    """
    path = folder / "log.jsonl"
    cure = cure or ("put the whole file back, and --resume finishes the run, or start again with a new --out folder; the trained "
                    f"model is in {folder / 'model'}")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {cure}") from None
    records = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not _is_record(record, figure):
            raise UserError(f"{path}:{number}: expected an update or an evaluation with its {figure}, found {line[:40]!r}; the "
                            f"file is damaged: {cure}")
        records.append(record)
    return records


def last_accuracy(records: Sequence[Record], loss: str) -> float | None:
    """Return the mean accuracy of a loss over the last tenth of a run; None if no update has an accuracy."""
    updates = [(record["step"], record["accuracy"]) for record in records
               if record["kind"] == "update" and record["loss"] == loss and record.get("accuracy") is not None]
    if not updates:
        return None
    last = [accuracy for step, accuracy in updates if step >= 0.9 * (updates[-1][0] + 1)] or [updates[-1][1]]
    return sum(last) / len(last)


def _is_record(record: Any, figure: str) -> bool:
    if not isinstance(record, dict) or not is_number(record.get("step")):
        return False
    if record.get("kind") == "evaluation":
        return all(are_scores(record.get(part, {}), figure) for part in ("dev", "test")) and "dev" in record
    accuracy = record.get("accuracy")
    return (record.get("kind") == "update" and isinstance(record.get("loss"), str) and is_number(record.get("value"))
            and (accuracy is None or is_number(accuracy)))


def are_scores(scores: Any, figure: str) -> bool:
    """Whether the value is a dict language -> score, each with this figure."""
    return isinstance(scores, dict) and all(isinstance(score, dict) and is_number(score.get(figure)) for score in scores.values())


def is_number(value: Any) -> bool:
    """Whether the value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
