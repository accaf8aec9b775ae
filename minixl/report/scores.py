"""The columns of a table of final scores and their meanings."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
