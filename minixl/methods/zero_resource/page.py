"""The section of report.html: the rounds, correctness by length (the paper's figure 2), entity words in two dimensions (its
figure 3), numbers of parameters (its Table 4)."""
from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from minixl.evaluation.scores import main_figure
from minixl.methods.records import read_table
from minixl.methods.zero_resource.picture import FILE
from minixl.methods.zero_resource.record import LENGTHS, ROUNDS, SOURCE, TARGET
from minixl.models.bilstm_crf_config import WORD_TABLE, BilstmCrfConfig, Shapes, augmented_shapes, tagger_shapes
from minixl.report.drawing import tag
from minixl.report.page import notes, table
from minixl.report.plots import COLOURS, PERCENT, svg
from minixl.weights.folder import read_json

RANGE = "\u2060–\u2060"                # a dash at which no line breaks
SIDE = 420                             # of a picture, in pixels


def report_section(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    """Return the tables of a finished run."""
    rounds, lengths = read_table(folder / ROUNDS, list), read_table(folder / LENGTHS, list)
    spaces = read_table(folder / FILE, dict)
    body = ["<h2>Rounds</h2>", _rounds(rounds, main_figure(metrics["task"]))] if rounds else []
    body += ["<h2>Length and correctness</h2>", *_lengths(lengths)] if lengths else []
    body += _pictures(spaces) if spaces else []
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
    rows = [[f"{row['from']}{RANGE}{row['to']}", row["sentences"], row["words"], *_percent(row, *names)] for row in lengths]
    curves = {f"{kind}, {model}": [(row["to"], 100 * row[name]) for row in lengths]
              for name, (kind, model) in zip(names, product(("words", "sentences"), (SOURCE, TARGET)), strict=True)}
    return [svg(curves, "correctly tagged, in %, by the greatest length of the sentences", PERCENT, "word"),
            table("Share of the target text's words and whole sentences that are tagged as in the file, by the length of the "
                  "sentence in words.  source: the model of the first stage; target: the run's model, through the "
                  "augmented path.",
                  ["length", "sentences", "words", "words: source, %", "target, %", "sentences: source, %", "target, %"], rows)]


def _pictures(spaces: Mapping[str, Mapping[str, list[tuple[str, float, float]]]]) -> list[str]:
    """Draw the entity words of both languages, a picture for each space."""
    kinds = sorted({kind for languages in spaces.values() for words in languages.values() for kind, _, _ in words})
    colours = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    source, target = next(iter(spaces.values()))
    key = "".join(f'<strong style="color:{colour}">{html.escape(kind)}</strong>' for kind, colour in colours.items())
    body = ["<h2>Entity words</h2>", f'<p class="key">{key}</p>', *notes(
        [f"Filled: {source}, tags of the labelled text; rings: {target}, tags of the model.  Principal components of the first "
         "words of each type.  The common layer is the last before the tags, which both encoders share"])]
    for space, languages in spaces.items():
        dots = [tag("circle", cx=f"{8 + x * (SIDE - 16):.1f}", cy=f"{SIDE - 8 - y * (SIDE - 16):.1f}", r=3.5, opacity=0.8,
                    stroke=colours[kind], fill=colours[kind] if language == source else "none")
                for language, words in languages.items() for kind, x, y in words]
        counts = ", ".join(f"{len(words)} words in {language}" for language, words in languages.items())
        body += [f"<h3>{space.capitalize()}</h3>", f'<svg viewBox="0 0 {SIDE} {SIDE}" style="max-width:{SIDE}px" role="img" '
                 f'aria-label="{html.escape(f"{space}: {counts}")}">{"".join(dots)}</svg>']
    return body


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
