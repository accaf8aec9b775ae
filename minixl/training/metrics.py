"""metrics.json: the final scores of a run, or the summary of several seeds.  It is written last and marks a run as finished."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minixl.errors import UserError
from minixl.files import write_atomically
from minixl.training.log import are_scores

Metrics = dict[str, Any]
REWRITE = "delete this file, and --resume trains the run again, or only scores it if train.keep_checkpoint kept its checkpoint"
PARTS = ("test", "last", "oracle")     # each has language -> score


def write_metrics(folder: Path, metrics: Metrics) -> None:
    """Write metrics.json atomically."""
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")


def is_finished(folder: Path) -> bool:
    """Whether the run in the folder has its final scores."""
    return (folder / "metrics.json").is_file()


def read_metrics(folder: Path, figure: str, cure: str) -> Metrics:
    """Read the scores of a finished run.  Raises UserError, ending with `cure`, for a damaged file or one of several seeds.

    figure: the score that every language must have.
    """
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        problem = "other content"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {cure}") from None
    except ValueError as error:
        metrics, problem = None, f"a damaged file ({error})"
    if isinstance(metrics, dict) and "seeds" in metrics:
        problem = "the summary of several seeds"
    elif isinstance(metrics, dict) and all(are_scores(metrics.get(part), figure) for part in PARTS):
        return metrics
    raise UserError(f"{path}: expected the {figure} of one run for {', '.join(PARTS)}, found {problem}; {cure}")
