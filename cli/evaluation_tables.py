"""The tables that `minixl evaluate` prints: each is its lines and a note on it, "" for none."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from minixl.cli.terminal import printable
from minixl.evaluation.scores import confused
from minixl.report.scores import TARGET_MEAN

if TYPE_CHECKING:
    from minixl.data.corpus import Corpus
    from minixl.evaluation.mistakes import Mistake

SHOWN_CLASSES = 20                     # rows of a language in the table of classes, and in the list of confusions
WIDEST = 120                           # columns of a confusion matrix; a wider one is listed instead
MACRO = ("macro f1: the mean f1 of all classes that are in the file or predicted; cal. error: how far confidence and accuracy are "
         "apart (expected calibration error)")

Table = tuple[list[str], str]


def score_table(scores: Mapping[str, Any], task: str, strict: bool, sources: Collection[str]) -> Table:
    """Return the scores of every language, and their mean over those that are not in `sources`."""
    targets = [row for language, row in scores.items() if language not in sources]
    if task == "ner":
        return _entity_table(scores, strict, targets)
    columns = [("accuracy", "accuracy")]
    if task == "classification":
        columns += [("macro f1", "macro_f1"), ("cal. error", "calibration_error")]
    rows = [(language, row, f"{row['support']}") for language, row in scores.items()]
    if len(targets) > 1:
        rows.append((TARGET_MEAN, _mean(targets, [name for _, name in columns]), ""))
    return [f"{'language':<12}" + "".join(f"{heading:>12}" for heading, _ in columns) + f"{'items':>10}",
            *(f"{language:<12}" + "".join(f"{100 * row[name]:>12.1f}" for _, name in columns) + f"{support:>10}"
              for language, row, support in rows)], MACRO if task == "classification" else ""


def _entity_table(scores: Mapping[str, Any], strict: bool, targets: Sequence[Mapping[str, Any]]) -> Table:
    figures = ("precision", "recall", "f1")
    rows = []
    for language, result in scores.items():
        types = result["by_type"]
        rows += [(language, kind, row, str(row["support"])) for kind, row in [("all", result), *types.items()]]
        if len(types) > 1:
            rows.append((language, "macro", _mean(list(types.values()), figures), ""))
    if len(targets) > 1:
        rows.append((TARGET_MEAN, "all", _mean(targets, figures), ""))
    width = max([8, *(len(kind) for _, kind, _, _ in rows)]) + 2
    return [f"{'language':<12}{'type':<{width}}{'precision':>10}{'recall':>10}{'f1':>10}{'entities':>10}",
            *(printable(f"{language:<12}{kind:<{width}}" + "".join(f"{100 * row[name]:>10.1f}" for name in figures)
                        + f"{support:>10}".rstrip()) for language, kind, row, support in rows)
            ], f"entities matched {'strictly, as IOB2' if strict else 'leniently, as conlleval does'}; macro: the mean of the types"


def _mean(rows: Sequence[Mapping[str, Any]], figures: Iterable[str]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in figures}


def class_table(scores: Mapping[str, Any], task: str) -> Table:
    """Return the figures of the most frequent classes or tags of each language."""
    field, word, plural = ("by_class", "class", "classes") if task == "classification" else ("by_tag", "tag", "tags")
    rows = [(language, label, row) for language, result in scores.items()
            for label, row in list(result[field].items())[:SHOWN_CLASSES]]
    width = max([8, *(len(label) for _, label, _ in rows)]) + 2
    lines = [f"{'language':<12}{word:<{width}}{'precision':>10}{'recall':>10}{'f1':>10}{'items':>10}"]
    for language, result in scores.items():
        lines += [printable(f"{language:<12}{label:<{width}}{100 * row['precision']:>10.1f}{100 * row['recall']:>10.1f}"
                            f"{100 * row['f1']:>10.1f}{row['support']:>10}") for name, label, row in rows if name == language]
        left_out = len(result[field]) - SHOWN_CLASSES
        if left_out > 0:
            lines.append(f"{language}: {left_out} less frequent {word if left_out == 1 else plural} not shown; --json has all")
    return lines, ""


def confusion_tables(scores: Mapping[str, Any]) -> list[Table]:
    """Return a confusion matrix for each language, or the most frequent confusions where the matrix would be too wide."""
    return [_confusion_matrix(language, row) or _confusion_list(language, row) for language, row in scores.items()]


def _confusion_matrix(language: str, row: Mapping[str, Any]) -> Table | None:
    labels, counts = list(row["by_class"]), row["confusion"]
    first = max([12, *(len(label) + 2 for label in labels)])
    widths = {label: max(8, len(label) + 2) for label in labels}
    if first + sum(widths.values()) > WIDEST:
        return None
    lines = [f"{f'{language}: gold':<{first}}" + "".join(f"{label:>{widths[label]}}" for label in labels) + "  predicted"]
    lines += [f"{label:<{first}}" + "".join(f"{counts[label].get(guess, 0):>{widths[guess]}}" for guess in labels)
              for label in labels if label in counts]
    return [printable(line) for line in lines], ""


def _confusion_list(language: str, row: Mapping[str, Any]) -> Table:
    pairs = confused(row["confusion"])
    columns = list(zip(*pairs[:SHOWN_CLASSES], strict=True))[:2] or [(), ()]
    widths = [max([10, *(len(str(label)) + 2 for label in column)]) for column in columns]
    lines = [f"{language + ': gold':<{widths[0] + 2}}{'predicted':<{widths[1]}}{'items':>8}",
             *(f"  {gold:<{widths[0]}}{predicted:<{widths[1]}}{count:>8}" for gold, predicted, count in pairs[:SHOWN_CLASSES])]
    left_out = len(pairs) - SHOWN_CLASSES
    if left_out > 0:
        lines.append(f"{language}: {left_out} less frequent confusion{'s' * (left_out != 1)} not shown; --json has all")
    return [printable(line) for line in lines], ""


def error_list(corpus: Corpus, mistakes: Sequence[Mistake], count: int) -> Table:
    """Return a heading, and the first `count` mistakes."""
    from minixl.evaluation.mistakes import lines_of

    inputs = "documents" if corpus.task == "classification" else "sentences"
    shown = f"; the first {count}:" if len(mistakes) > count else ":" if mistakes else ""
    return [printable(f"{corpus.language} ({corpus.names}): {len(mistakes)} of {len(corpus.inputs)} {inputs} wrong{shown}"),
            *(printable(line) for mistake in mistakes[:count] for line in lines_of(corpus.task, mistake))], ""


def translation_table(scores: Mapping[str, Any]) -> Table:
    return [f"{'pair':<12}{'pairs':>10}{'translations':>14}{'random':>10}{'forward':>10}{'backward':>10}",
            *(f"{name:<12}{row['pairs']:>10}{row['translations']:>14.3f}{row['random']:>10.3f}"
              f"{100 * row['precision_forward']:>10.1f}{100 * row['precision_backward']:>10.1f}"
              for name, row in scores.items())
            ], ("translations, random: median cosine of translations and of random pairs; forward, backward: % of texts whose "
                "nearest neighbour is their translation")


def probe_table(probes: Mapping[str, Any]) -> Table:
    rows = [(name, level, row) for name, levels in probes.items() for level, row in levels.items()]
    return [f"{'pair':<12}{'level':<10}{'accuracy':>10}{'source':>10}{'target':>10}{'tested':>10}",
            *(f"{name:<12}{level:<10}{100 * row['accuracy']:>10.1f}{100 * row['recall_source']:>10.1f}"
              f"{100 * row['recall_target']:>10.1f}{row['tested']:>10}" for name, level, row in rows)
            ], ("accuracy of a new language discriminator on texts it has not seen (the test files, or half of the texts without "
                "them), chance 50; source, target: % recognised of each language")
