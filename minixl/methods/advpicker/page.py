"""AdvPicker's section of report.html: the tables of its paper for the run's own data, from audit.json (audit.py)."""
from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minixl.evaluation.scores import main_figure
from minixl.methods.advpicker.audit import FILE
from minixl.methods.records import read_table
from minixl.report.page import table
from minixl.report.plots import bars

PARTS = ("selected", "other", "all")           # of the sentences, as in audit.json
P_BAR = ("p̄ is the probability that a sentence is source text, the mean of the discriminator's probabilities over its pieces; "
         "near ½ the discriminator cannot tell its language.")


def report_section(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    """Return the audit if there is one, and a note if the ablation trained no student."""
    body = [] if metrics["steps"] else \
        ["<p>No student was trained (advpicker.variant=without-kd), so there is no curve and no model folder.</p>"]
    audit = read_table(folder / FILE, dict)
    return [*body, audit_html(audit, main_figure(metrics["task"]))] if audit else body


def audit_html(audit: dict[str, Any], figure: str) -> str:
    """Show everything in audit.json.  figure: "f1" or "accuracy"."""
    body = [_pseudo_labels(audit["languages"], figure), _test_split(audit["test"], figure)]
    for language, rows in audit["languages"].items():
        body += _language(html.escape(language), language, rows, figure)
    return "\n".join(body)


def _language(name: str, language: str, rows: dict[str, Any], figure: str) -> list[str]:
    """Show which sentences of one language are selected, and how far the teachers agree."""
    body = [f"<h3>{name}: probability of being source text</h3>",
            f"<p>Number of sentences (height) by p̄ (from 0 to 1).  {P_BAR}</p>",
            bars([(row["sentences"], row["selected"]) for row in rows["histogram"]], ("p̄ = 0", "p̄ = 1"),
                 ("all sentences", "selected sentences")),
            f"<h3>{name}: teachers</h3>",
            table(f"The teachers' labels of the unlabelled text in {language}.  sentences: those in which this teacher is "
                  "the most confident by the rule advpicker.merge, so that they get its labels; confidence: the probability of "
                  "the best label, mean over the words of a sentence, then over sentences; merged: the labels of the sentences.",
                  ["teacher", "sentences", "mean confidence, %", "words labelled as merged, %"],
                  [[str(row["teacher"] + 1), row["chosen"], 100 * row["confidence"], 100 * row["agreement"]]
                   for row in rows["teachers"]])]
    if "sweep" in rows:
        body += [f"<h3>{name}: selected sentences by ρ</h3>",
                 table(f"{figure} of the merged labels in %, if another share ρ (advpicker.rho) of the sentences in {language} "
                       "were selected: those with the highest language independence 1 - |p̄ - ½|.",
                       ["ρ", "sentences", f"{figure}, %"],
                       [[f"{row['rho']:g}", row["sentences"], 100 * row[figure]] for row in rows["sweep"]])]
    return body


def _pseudo_labels(languages: dict[str, Any], figure: str) -> str:
    """Show tables 4 and 5 of the paper."""
    rows = []
    for language, audited in languages.items():
        scores = {row["part"]: 100 * row[figure] for row in audited.get("pseudo_labels", ())}
        sizes = audited["sizes"]
        rows += [[language, part, sizes[part], scores.get(part)] for part in PARTS if sizes[part]]
    return "<h2>Pseudo-labels</h2>" + table(
        f"{figure} of the pseudo-labels of the unlabelled text in %, against the tags of its file; – if it has none.  "
        "selected: the sentences that the student learns from, the share ρ (advpicker.rho) of highest language independence; "
        "other: the rest.  (In the table of scores at the top, selected means the step with the best model.)",
        ["language", "part", "sentences", f"{figure}, %"], rows)


def _test_split(test: dict[str, Any], figure: str) -> str:
    """Show table 7 of the paper."""
    rows = [[language, row["part"], tagger, row["sentences"], 100 * row[figure]] for language, split in test.items()
            for tagger in ("teachers", "student") for row in split.get(tagger, ()) if row["sentences"]]
    return "<h2>Test files, split like the unlabelled text</h2>" + table(
        f"Test {figure} in % of the sentences that would be selected if the test file were unlabelled text, and of the others.  "
        "teachers: each sentence has the tags of its most confident teacher.",
        ["language", "part", "tagged by", "sentences", f"{figure}, %"], rows) if rows else ""
