"""Where a run's test scores come from, for its page: figures by entity type, tag or class, and what classes are confused."""
from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from minixl.evaluation.scores import confused
from minixl.report.page import matrix, table

MOST_ROWS = 24         # a longer table is closed until the reader opens it
MOST_CLASSES = 12      # of a confusion matrix; more are listed
MOST_CONFUSIONS = 20   # rows of that list
FIGURES = ("precision", "recall", "f1")


class _Kind(NamedTuple):
    """What the scores are broken down by."""

    title: str
    heading: str
    counted: str           # what the column support counts


KINDS = {"by_type": _Kind("Entity types", "type", "entities"), "by_tag": _Kind("Tags", "tag", "words"),
         "by_class": _Kind("Classes", "class", "documents")}


def breakdown(scores: Mapping[str, Any], sources: Collection[str]) -> list[str]:
    """Return the tables behind the test scores, language -> score; [] if these have none."""
    body: list[str] = []
    for field, kind in KINDS.items():
        groups = {language: score[field] for language, score in scores.items() if score.get(field)}
        body += _by_kind(groups, kind) if groups else []
    matrices = {language: score["confusion"] for language, score in scores.items() if score.get("confusion")}
    return body + (_confusions(matrices, sources) if matrices else [])


def _by_kind(groups: Mapping[str, Mapping[str, Any]], kind: _Kind) -> list[str]:
    """Return one table; of many rows, the means over the languages, and the table to open."""
    rows: list[list[Any]] = []
    for language, of_language in groups.items():
        rows += [[language, name, *_percent(row), row["support"]] for name, row in of_language.items()]
        if len(of_language) > 1:
            rows.append([language, "macro", *_means(_percent(row) for row in of_language.values()), None])
    words = f"support: the number of {kind.counted} in the test file; macro: the mean of the {kind.title.split()[-1].lower()}."
    each = table(f"Test scores by {kind.heading}, %.  {words}", ["language", kind.heading, *FIGURES, "support"], rows)
    if len(rows) <= MOST_ROWS:
        return [f"<h2>{kind.title}</h2>", each]
    summary: list[list[Any]] = []
    for name in dict.fromkeys(name for of_language in groups.values() for name in of_language):
        members = [of_language[name] for of_language in groups.values() if name in of_language]
        summary.append([name, *_means(map(_percent, members)), sum(row["support"] for row in members)])
    foot = [["macro", *_means(row[1:4] for row in summary), None]] if len(summary) > 1 else []
    caption = (f"Test scores by {kind.heading}, %, mean over the languages that have the {kind.heading}.  "
               + words.replace("the test file", "all test files"))
    return [f"<h2>{kind.title}</h2>", _closed(f"All {len(summary)} rows", table(
        caption, [kind.heading, *FIGURES, "support"], summary, foot), len(summary)),
        f"<details><summary>Each language: {len(rows)} rows</summary>{each}</details>"]


def _closed(title: str, content: str, rows: int) -> str:
    return content if rows <= MOST_ROWS else f"<details><summary>{title}</summary>{content}</details>"


def _percent(row: Mapping[str, float]) -> list[float]:
    return [100 * row[figure] for figure in FIGURES]


def _means(rows: Iterable[Sequence[float]]) -> list[float]:
    return [fmean(column) for column in zip(*rows, strict=True)]


def _confusions(matrices: Mapping[str, Mapping[str, Mapping[str, int]]], sources: Collection[str]) -> list[str]:
    """Return the confusions of the target languages together (without any, of all), and those of each language to open."""
    targets = {language: counts for language, counts in matrices.items() if language not in sources}
    together = targets or matrices
    body = ["<h2>Confusions</h2>", _confusion(_sum(together.values()), ", ".join(together))]
    if len(matrices) > 1:
        each = "".join(f"<h3>{html.escape(language)}</h3>{_confusion(counts, language)}" for language, counts in matrices.items())
        body.append(f"<details><summary>Each language</summary>{each}</details>")
    return body


def _confusion(counts: Mapping[str, Mapping[str, int]], languages: str) -> str:
    """Return a confusion matrix, or of many classes the most frequent confusions."""
    labels = list(dict.fromkeys([*sorted(counts), *sorted({label for row in counts.values() for label in row})]))
    if len(labels) <= MOST_CLASSES:
        return matrix(f"Documents by gold class (rows) and predicted class (columns), {languages}.", "gold", labels,
                      [[counts.get(gold, {}).get(predicted, 0) for predicted in labels] for gold in labels])
    pairs = confused(counts)
    if not pairs:
        return f"<p>No document of {html.escape(languages)} is wrong.</p>"
    shown = f"  The {MOST_CONFUSIONS} most frequent of {len(pairs)} confusions." if len(pairs) > MOST_CONFUSIONS else ""
    return table(f"What is confused, {languages}.{shown}", ["gold", "predicted", "documents"], pairs[:MOST_CONFUSIONS],
                 text_columns=2)


def _sum(matrices: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for counts in matrices:
        for gold, row in counts.items():
            for predicted, count in row.items():
                of_gold = total.setdefault(gold, {})
                of_gold[predicted] = of_gold.get(predicted, 0) + count
    return total
