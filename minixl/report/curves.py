"""Collect scores, losses and accuracies over the steps, as rows and as CSV."""
from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minixl.files import write_atomically
from minixl.training.log import Record
from minixl.training.objective import Loss

COLUMNS = ("step", "language", "score", "source_dev")      # and loss_NAME for every loss, NAME_accuracy if it has one


def columns_of(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the columns of these rows: COLUMNS, then losses, then accuracies."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in COLUMNS))
    return [*COLUMNS, *sorted(names, key=lambda name: not name.startswith("loss_"))]       # stable


def curve_rows(records: Sequence[Record], figure: str, sources: Sequence[str], losses: Mapping[str, Loss],
               part: str = "test") -> list[Record]:
    """Return a row for every evaluation and language of `part`: "test", which needs train.score_tests, or "dev".

    score: the figure of that language; source_dev: its mean over the source languages' dev files; losses and accuracies:
    means over the updates since the last evaluation; None if there is nothing to average.  An evaluation without scores of
    `part`, and the updates after the last evaluation, get one row each, without language and score.
    losses: says which losses have an accuracy.
    """
    rows: list[Record] = []
    since: list[Record] = []
    names = _columns_of_updates(records, losses)
    for record in records:
        if record["kind"] == "update":
            since.append(record)
            continue
        source_dev = _mean([record["dev"][language][figure] for language in sources if language in record["dev"]])
        means = {"source_dev": source_dev, **_means(since, names)}
        scores = [(language, score[figure]) for language, score in record.get(part, {}).items()] or [(None, None)]
        rows += [{"step": record["step"], "language": language, "score": score, **means} for language, score in scores]
        since = []
    if since:
        rows.append({"step": since[-1]["step"] + 1, "language": None, "score": None, "source_dev": None, **_means(since, names)})
    return rows


def _columns_of_updates(records: Sequence[Record], losses: Mapping[str, Loss]) -> dict[str, tuple[str, str]]:
    """Return column -> loss and field of an update, for the losses that occur."""
    updates = [record for record in records if record["kind"] == "update"]
    names = {loss: loss.replace(" ", "_") for loss in dict.fromkeys(update["loss"] for update in updates)}
    return {**{f"loss_{name}": (loss, "value") for loss, name in names.items()},
            **{f"{name}_accuracy": (loss, "accuracy") for loss, name in names.items() if loss in losses and losses[loss].accuracy}}


def _means(updates: Sequence[Record], names: Mapping[str, tuple[str, str]]) -> dict[str, float | None]:
    return {column: _mean([update[field] for update in updates if update["loss"] == loss])
            for column, (loss, field) in names.items()}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def write_curves(folder: Path, records: Sequence[Record], figure: str, sources: Sequence[str],
                 losses: Mapping[str, Loss]) -> None:
    """Write curves.csv if there is an update or an evaluation."""
    rows = curve_rows(records, figure, sources, losses)
    if rows:
        write_atomically(folder / "curves.csv", as_csv(rows, columns_of(rows)))


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Format a header and the rows; None is an empty cell."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
