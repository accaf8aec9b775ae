"""Self-learning's section of report.html, from rounds.json (record.py)."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minixl.evaluation.scores import main_figure
from minixl.methods.self_learning.record import RoundRecord, read_rounds
from minixl.report.page import table


def report_section(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    """Return the tables of the rounds."""
    rounds, figure = read_rounds(folder), main_figure(metrics["task"])
    return ["<h2>Rounds</h2>", _sizes(rounds, figure), _scores(rounds, figure), *_classes(rounds)] if rounds else []


def _sizes(rounds: list[RoundRecord], figure: str) -> str:
    rows = [[record["round"], language, record["labelled"], row["new"], row["pool"], _percent(row["agreement"]),
             _percent(row["pseudo_labels"])] for record in rounds for language, row in record["languages"].items()]
    return table("learned from: labelled and selected items of all languages with which the round's model was trained; new: items "
                 "that were selected after the round; pool: items left; agreement: % of the predicted labels that are those of the "
                 f"round before; pseudo-labels: {figure} of the new items in %, where the unlabelled file has labels "
                 "(self_learning.audit).",
                 ["round", "language", "learned from", "new", "pool", "agreement, %", "pseudo-labels, %"], rows)


def _scores(rounds: list[RoundRecord], figure: str) -> str:
    languages = list(rounds[-1]["test"])
    return table(f"Test {figure} of each round's model in %.", ["round", *languages],
                 [[record["round"], *(_percent(record["test"].get(language)) for language in languages)] for record in rounds]
                 ) if languages else ""


def _classes(rounds: list[RoundRecord]) -> list[str]:
    tables = []
    for language in rounds[-1]["languages"]:
        classes = list(rounds[-1]["languages"][language]["classes"])
        tables.append(table(f"{language}: items selected in each round, by the class that they were selected for.",
                            ["round", *classes], [[record["round"], *record["languages"][language]["classes"].values()]
                                                  for record in rounds]))
    return tables


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
