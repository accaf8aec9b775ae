"""audit.json as HTML: the tables of AdvPicker's paper for this run's own data (audit.py)."""
from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minixl.evaluation.scores import main_figure
from minixl.methods.advpicker.audit import read_audit
from minixl.report.page import table
from minixl.report.plots import bars

PARTS = ("selected", "other", "all")           # of the sentences, as in audit.json
TEXT = ("p̄ is how likely a sentence is source text, the mean of the discriminator's probabilities over its pieces; near ½ its "
        "language does not show.")


def report_section(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    """AdvPicker's part of report.html: what was audited, and what an ablation left out."""
    body = [] if metrics["steps"] else \
        ["<p>No student was trained (advpicker.variant=without-kd), so there is no curve and no model folder.</p>"]
    audit = read_audit(folder)
    return [*body, audit_html(audit, main_figure(metrics["task"]))] if audit else body


def audit_html(audit: dict[str, Any], figure: str) -> str:
    """Everything in audit.json.  figure: "f1" or "accuracy"."""
    body = [_pseudo_labels(audit["languages"], figure), _test_split(audit["test"], figure)]
    for language, rows in audit["languages"].items():
        body += _language(html.escape(language), language, rows, figure)
    return "\n".join(body)


def _language(name: str, language: str, rows: dict[str, Any], figure: str) -> list[str]:
    """What was selected of one language's text, and how its teachers agree."""
    body = [f"<h3>{name}: probability of being source text</h3>",
            f"<p>Number of sentences (height) by p̄ (from 0 to 1).  {TEXT}</p>",
            bars([(row["sentences"], row["selected"]) for row in rows["histogram"]], ("p̄ = 0", "p̄ = 1"),
                 ("all sentences", "selected sentences")),
            f"<h3>{name}: teachers</h3>",
            table(f"What each teacher says of the unlabelled text in {language}.  surest in: the sentences where this teacher is "
                  "the surest by the rule advpicker.merge, so that its labels are taken; confidence: the probability of the best "
                  "label, the mean over the words of a sentence, then over the sentences; merged: the labels that were taken so.",
                  ["teacher", "surest in, sentences", "mean confidence, %", "words labelled as merged, %"],
                  [[str(row["teacher"] + 1), row["chosen"], 100 * row["confidence"], 100 * row["agreement"]]
                   for row in rows["teachers"]])]
    if "sweep" in rows:
        body += [f"<h3>{name}: selected sentences by ρ</h3>",
                 table(f"{figure} of the merged labels in %, if another share ρ of the sentences in {language} were selected "
                       "(advpicker.rho): those of the highest language independence 1 - |p̄ - ½|.",
                       ["ρ", "sentences", f"{figure}, %"],
                       [[f"{row['rho']:g}", row["sentences"], 100 * row[figure]] for row in rows["sweep"]])]
    return body


def _pseudo_labels(languages: dict[str, Any], figure: str) -> str:
    """Tables 4 and 5 of the paper."""
    rows = []
    for language, audited in languages.items():
        scores = {row["part"]: 100 * row[figure] for row in audited.get("pseudo_labels", ())}
        sizes = audited["sizes"]
        rows += [[language, part, sizes[part], scores.get(part)] for part in PARTS if sizes[part]]
    return "<h2>Pseudo-labels</h2>" + table(
        f"{figure} of the pseudo-labels of the unlabelled text in %, against the tags of its file; – where it has none.  selected: "
        "the sentences that the student learns from, the share ρ (advpicker.rho) whose language shows least; other: the rest.  (In "
        "the table of scores at the top, selected is the step whose model is taken.)",
        ["language", "part", "sentences", f"{figure}, %"], rows)


def _test_split(test: dict[str, Any], figure: str) -> str:
    """Table 7."""
    rows = [[language, row["part"], who, row["sentences"], 100 * row[figure]] for language, split in test.items()
            for who in ("teachers", "student") for row in split.get(who, ()) if row["sentences"]]
    return "<h2>Test files, split as the unlabelled text is</h2>" + table(
        f"Test {figure} in % of the sentences that would be selected, and of the others, if the test file were unlabelled text.  "
        "teachers: each sentence has the tags of the surest teacher.",
        ["language", "part", "tagged by", "sentences", f"{figure}, %"], rows) if rows else ""
