"""The columns of a table of final scores: those that a run has, and what they mean."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COLUMNS_OF_SCORES = {"selected": "test", "last": "last", "oracle": "oracle"}       # heading -> part of metrics.json
MEANING = {"selected": "after the step with the best score on the source languages' dev files (without any, after the last step), "
                       "which is the model",
           "last": "after the last step",
           "oracle": "after the step with the best score on the dev file of the language itself, – without one",
           "teachers": "AdvPicker's teachers together, each sentence tagged by the one that is surest of it"}


def score_columns(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Heading -> part of metrics.json, of one run or of several seeds, in the order of the columns.

    Where nothing was trained (advpicker.variant=without-kd) there is no step to select, and the scores are the teachers'.
    """
    steps = metrics.get("steps")
    if (steps["mean"] if isinstance(steps, dict) else steps) == 0:
        return {"teachers": "test"} if metrics["test"] else {}
    return {heading: part for heading, part in COLUMNS_OF_SCORES.items() if metrics[part]}


def meaning(headings: Iterable[str]) -> str:
    """What these columns of a table of scores are."""
    return "; ".join(f"{heading}: {MEANING[heading]}" for heading in headings) + "."
