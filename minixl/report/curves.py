"""What log.jsonl says over time: scores beside the losses and the discriminator's accuracy."""
from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minixl.files import write_atomically
from minixl.errors import UserError
from minixl.evaluation.scores import main_figure

if TYPE_CHECKING:
    from minixl.training.loop import Evaluation

COLUMNS = ("step", "language", "score", "source_dev", "loss_task", "loss_discriminator", "loss_generator",
           "discriminator_accuracy")

Record = dict[str, Any]


def read_log(folder: Path) -> list[Record]:
    """log.jsonl of a run whose training is over.  Raises UserError for a damaged line."""
    path = folder / "log.jsonl"
    return parse_log(path, path.read_text(encoding="utf-8", errors="replace"), _has_kind, "an update or an evaluation",
                     "put the whole file back, and --resume finishes the run, or start again with a new --out folder; the trained "
                     f"model is in {folder / 'model'}")


def parse_log(path: Path, text: str, is_record: Callable[[Any], bool], expected: str, cure: str) -> list[Record]:
    """The records in the text of a log, without a last line that is being written.

    Raises UserError for a line that is no JSON or no record, ending with `cure`.
    """
    records = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not is_record(record):
            raise UserError(f"{path}:{number}: expected {expected}, found {line[:40]!r}; the file is damaged: {cure}")
        records.append(record)
    return records


def _has_kind(record: Any) -> bool:
    return isinstance(record, dict) and record.get("kind") in ("update", "evaluation")


def curve_rows(records: Sequence[Record], figure: str, sources: Sequence[str], part: str = "test") -> list[Record]:
    """A row with COLUMNS for every evaluation and language of `part` ("test" needs train.score_tests, or "dev").

    score: the figure of that language; source_dev: its mean over the source languages' dev files; losses and accuracy are
    means over the updates since the evaluation before.  None where there is nothing to average.  An evaluation that scored
    nothing of `part`, and the updates after the last one, have one row each, without language and score.
    """
    rows: list[Record] = []
    since: list[Record] = []
    for record in records:
        if record["kind"] == "update":
            since.append(record)
            continue
        source_dev = _mean(record["dev"][language][figure] for language in sources if language in record["dev"])
        means = {"source_dev": source_dev, **_means(since)}
        scores = [(language, score[figure]) for language, score in record.get(part, {}).items()] or [(None, None)]
        rows += [{"step": record["step"], "language": language, "score": score, **means} for language, score in scores]
        since = []
    if since:
        rows.append({"step": since[-1]["step"] + 1, "language": None, "score": None, "source_dev": None, **_means(since)})
    return rows


def _means(updates: Sequence[Record]) -> dict[str, float | None]:
    """The columns of losses and accuracy."""
    means = {f"loss_{loss}": _mean(u["value"] for u in updates if u["loss"] == loss)
             for loss in ("task", "discriminator", "generator")}
    return {**means, "discriminator_accuracy": _mean(u["accuracy"] for u in updates if u["loss"] == "discriminator")}


def _mean(values: Any) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def write_curves(folder: Path, records: Sequence[Record], evaluation: Evaluation) -> None:
    """curves.csv, where there was an update or an evaluation."""
    rows = curve_rows(records, main_figure(evaluation.task), evaluation.sources)
    if rows:
        write_atomically(folder / "curves.csv", as_csv(rows, COLUMNS))


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A header and the rows; None is an empty cell."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
