"""The sections of report.html: perplexities, learned weights of the layers, neighbours in context (the paper's table 4)."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minixl.methods.mlma.language_model import LanguageModeling
from minixl.methods.mlma.record import FILE
from minixl.methods.records import read_table
from minixl.report.page import notes, table
from minixl.report.page_of_run import plot, update_curves
from minixl.report.plots import smooth
from minixl.training.log import Record, read_log
from minixl.training.objective import TASK


def report_section(folder: Path) -> list[str]:
    """Return the sections of a run; those of the language model alone for a run that trained nothing else."""
    path = folder / FILE
    if not path.is_file():
        return perplexity_section(folder)
    content = read_table(path, dict)
    history = folder / content["history"] if content["history"] else None
    body = perplexity_section(history) + loss_section(history) if history and (history / "log.jsonl").is_file() else []
    return [*body, *layer_section(content["layers"]), *neighbour_section(content["neighbours"])]


def read_records(folder: Path) -> list[Record]:
    """Return the log of a language model's run, without a last line that is still being written.  Raises UserError if damaged."""
    return read_log(folder, "perplexity")


def perplexity_section(folder: Path) -> list[str]:
    """Return the perplexity of each language and direction over the steps, and the last ones as a table."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for record in read_records(folder):
        for language, of in record.get("perplexity", {}).items():
            for direction, value in of.items():
                curves.setdefault(f"{language}, {direction}", []).append((record["step"], value))
    if not curves:
        return []
    rows = [[name, f"{curve[-1][1]:.1f}"] for name, curve in curves.items()]
    return [*plot("Perplexity of the language model", dict(curves), "perplexity on held-out sentences"),
            table("At the last step, by the full softmax; all unknown words are one.", ["language, direction", "perplexity"],
                  rows)]


def loss_section(folder: Path) -> list[str]:
    """Return the curves of the language model's loss and of each alignment term."""
    values, _ = update_curves(read_records(folder), LanguageModeling.LOSSES)
    title = LanguageModeling.LOSSES[TASK].title
    terms = {name: curve for name, curve in values.items() if name != title}
    body = plot("Loss of the language model", smooth({title: values[title]}), "loss") if title in values else []
    return body + plot("Alignment terms of the language model, with their weights", smooth(terms), "loss")


def layer_section(layers: Mapping[str, list[float]]) -> list[str]:
    """Return the mean weight of each layer."""
    count = max(map(len, layers.values()), default=0)
    return ["<h2>Weights of the layers</h2>",
            table("Mean weight of each layer in the representation of a word, in %; layer 0 is the normalised word vector.",
                  ["language", *(str(i) for i in range(count))],
                  [[language, *(f"{100 * share:.1f}" for share in shares)] for language, shares in layers.items()])]


def neighbour_section(rows: list[dict[str, Any]]) -> list[str]:
    """Return words with their nearest neighbours in context."""
    if not rows:
        return []
    languages = list(dict.fromkeys(language for row in rows for language in row["neighbours"]))
    lines = []
    for row in rows:
        cells = [_in_context(row["word"])]
        cells += [f"{_in_context(found)} ({found['cosine']:.2f})" if (found := row["neighbours"].get(language)) else ""
                  for language in languages]
        lines.append(cells)
    return ["<h2>Neighbours in context</h2>", *notes(
        ["Words of the source language that occur with different tags, in brackets, and the word of each other language whose "
         "representation is nearest, with the cosine"]), table("", ["word", *languages], lines)]


def _in_context(shown: Mapping[str, Any]) -> str:
    return f"{shown['before']} [{shown['word']}] {shown['after']} {shown['tag']}".strip()
