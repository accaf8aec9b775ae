"""The columns of a table of final scores and their meanings."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from minixl.evaluation.scores import mean_sd

TARGET_MEAN = "target mean"            # the row of the mean over the target languages; no language has a space in its name
MEAN_MEANING = "over the test languages that are not source languages"
PARTS = {"selected": "test", "last": "last", "oracle": "oracle"}       # heading -> part of metrics.json
MEANING = {"selected": "after the step with the best score on the source languages' dev files (without these, after the last "
                       "step); this is the model",
           "last": "after the last step",
           "oracle": "after the step with the best score on the language's own dev file; – without one"}


def score_columns(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return heading -> part of metrics.json, of one run or of several seeds, in the order of the columns.

    If the run trained no model of its own, metrics has "scored": the heading of its scores and the meaning.
    """
    if "scored" in metrics:
        return {heading: "test" for heading in metrics["scored"]} if metrics["test"] else {}
    return {heading: part for heading, part in PARTS.items() if metrics[part]}


def meanings(runs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return heading -> meaning for all columns that these runs can have."""
    return MEANING | {heading: text for metrics in runs for heading, text in metrics.get("scored", {}).items()}


def meaning(headings: Iterable[str], texts: Mapping[str, str]) -> str:
    """Explain these columns of a table of scores."""
    return "; ".join(f"{heading}: {texts[heading]}" for heading in headings) + "."


def with_target_mean(metrics: Mapping[str, Any], figure: str, sources: Collection[str]) -> dict[str, Any]:
    """Add TARGET_MEAN to the languages: the mean over the test languages that are not in `sources`, if there are several.

    Of several seeds it is the mean of the runs' means, with its sd.  A part that lacks one of these languages gets none.
    """
    targets = [language for language in metrics["test"] if language not in sources]
    if len(targets) < 2:
        return dict(metrics)
    result = dict(metrics)
    for part in PARTS.values():
        scores = metrics[part]
        if all(target in scores for target in targets):
            result[part] = {**scores, TARGET_MEAN: {figure: _mean([scores[target][figure] for target in targets])}}
    return result


def split_mean(rows: Iterable[Sequence[Any]]) -> tuple[list[Sequence[Any]], list[Sequence[Any]]]:
    """Return the rows of languages, and those of TARGET_MEAN; the first cell of a row is the language."""
    rows = list(rows)
    return [row for row in rows if row[0] != TARGET_MEAN], [row for row in rows if row[0] == TARGET_MEAN]


def _mean(values: Sequence[Any]) -> Any:
    """Return the mean of the figures of one run, or a summary of the means of several runs."""
    if not isinstance(values[0], Mapping):
        return sum(values) / len(values)
    means = [sum(of_run) / len(of_run) for of_run in zip(*(value["runs"] for value in values), strict=True)]
    mean, sd = mean_sd(means)
    return {"mean": mean, "sd": sd, "max": max(means), "runs": means}
