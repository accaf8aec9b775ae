"""studies.json as HTML: the tables of AdvPicker's paper for this run's own data (minixl/studies.py)."""
from __future__ import annotations

import html
from typing import Any

from minixl.report.page import table
from minixl.report.plots import bars


def studies_html(studies: dict[str, Any], figure: str) -> str:
    """Everything in studies.json.  figure: "f1" or "accuracy"."""
    body = [_pseudo_labels(studies["languages"], figure), _test_split(studies["test"], figure)]
    for language, rows in studies["languages"].items():
        name = html.escape(language)
        body += [f"<h3>{name}: mean probability of being source text</h3>",
                 bars([(row["sentences"], row["selected"]) for row in rows["histogram"]], ("0", "1"),
                      ("sentences", "selected ones")),
                 f"<h3>{name}: teachers</h3>",
                 table(["teacher", "sentences chosen", "mean confidence %", "words labelled as merged %"],
                       [[str(row["teacher"] + 1), row["chosen"], 100 * row["confidence"], 100 * row["agreement"]]
                        for row in rows["teachers"]])]
        if "sweep" in rows:
            body += [f"<h3>{name}: selected sentences by ρ</h3>",
                     table(["ρ", "sentences", figure],
                           [[f"{row['rho']:g}", row["sentences"], 100 * row[figure]] for row in rows["sweep"]])]
    return "\n".join(body)


def _pseudo_labels(languages: dict[str, Any], figure: str) -> str:
    """Tables 4 and 5 of the paper."""
    rows = []
    for language, found in languages.items():
        scores = {row["part"]: 100 * row[figure] for row in found.get("pseudo_labels", ()) if row["sentences"]}
        rows += [[language, part, found["sizes"][part], scores.get(part)] for part in ("selected", "other", "all")]
    return "<h2>Pseudo-labels</h2>" + table(["language", "sentences", "number", figure], rows)


def _test_split(test: dict[str, Any], figure: str) -> str:
    """Table 7."""
    rows = [[language, row["part"], who, row["sentences"], 100 * row[figure] if row["sentences"] else None]
            for language, found in test.items() for who in ("teachers", "student") for row in found.get(who, ())]
    title = "<h2>Test files, split as the unlabelled text is</h2>"
    return title + table(["language", "sentences", "tagged by", "number", figure], rows) if rows else ""
