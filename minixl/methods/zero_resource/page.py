"""The section of report.html: the rounds, correctness by length (the paper's figure 2), numbers of parameters (its Table 4)."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from minixl.evaluation.scores import main_figure
from minixl.methods.zero_resource.record import LENGTHS, ROUNDS, SOURCE, TARGET, read_rows
from minixl.models.bilstm_crf_config import WORD_TABLE, BilstmCrfConfig, Shapes, augmented_shapes, tagger_shapes
from minixl.report.page import table
from minixl.weights.folder import read_json


def report_section(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    """Return the tables of a finished run."""
    rounds, lengths = read_rows(folder / ROUNDS), read_rows(folder / LENGTHS)
    body = ["<h2>Rounds</h2>", _rounds(rounds, main_figure(metrics["task"]))] if rounds else []
    body += ["<h2>Length and correctness</h2>", *_lengths(lengths)] if lengths else []
    return [*body, "<h2>Parameters</h2>", _parameters(folder)] if (folder / "model" / "config.json").is_file() else body


def _rounds(rounds: list[dict[str, Any]], figure: str) -> str:
    rows = [[row["round"], row["threshold"], row["sentences"], row["words"], row["entities"],
             *_percent(row, "agreement", figure, "correct")] for row in rounds]
    return table("longest: the length threshold, drawn anew for each round, in words; sentences, words, entities: of the target "
                 "text up to this length, with the entities that the source model sees; agreement: % of the labels that are those "
                 f"of the round before; {figure}, correct words: of the pseudo-labels in %, where the unlabelled file has labels "
                 "(zero_resource.audit).",
                 ["round", "longest", "sentences", "words", "entities", "agreement, %", f"{figure}, %", "correct words, %"], rows)


def _lengths(lengths: list[dict[str, Any]]) -> list[str]:
    names = [name for kind in ("{}", "sentences, {}") for name in (kind.format(SOURCE), kind.format(TARGET))]
    rows = [[f"{row['from']}–{row['to']}", row["sentences"], row["words"], *_percent(row, *names)] for row in lengths]
    return [table("Share of the target text's words and whole sentences that are tagged as in the file, by the length of the "
                  "sentence in words.  source model: that of the first stage; target model: the run's model, through the "
                  "augmented path.",
                  ["length", "sentences", "words", "words: source model, %", "target model, %", "sentences: source model, %",
                   "target model, %"], rows)]


def _parameters(folder: Path) -> str:
    raw = read_json(folder / "model" / "config.json")
    config, labels = BilstmCrfConfig.from_json(raw), len(raw["id2label"])
    word = _count(tagger_shapes(replace(config, chars=True, tied=False), labels))
    models = {"Cross-Word": word, "the source model": _count(tagger_shapes(config, labels)),
              "with the target encoder": _count(augmented_shapes(config, labels))}
    return table("Numbers of parameters without word vectors, and the difference from Cross-Word, a tagger with characters and one "
                 "cell per direction, in %.", ["model", "parameters", "difference, %"],
                 [[name, count, f"{100 * (count - word) / word:+.1f}"] for name, count in models.items()])


def _count(shapes: Shapes) -> int:
    return sum(prod(shape) for name, shape in shapes.items() if name != WORD_TABLE)


def _percent(row: Mapping[str, Any], *names: str) -> list[float | None]:
    return [None if row.get(name) is None else 100 * row[name] for name in names]
