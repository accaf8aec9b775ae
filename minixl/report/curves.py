"""What log.jsonl says over time: scores beside the losses and the discriminator's accuracy, and whether D and G keep balance."""
from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minixl.checkpoint import write_atomically
from minixl.evaluation import main_figure

if TYPE_CHECKING:
    from minixl.training import Evaluation

COLUMNS = ("step", "language", "score", "source_dev", "loss_task", "loss_discriminator", "loss_generator",
           "discriminator_accuracy")
NO_EFFECT, NEAR_CHANCE = 0.99, (0.45, 0.55)        # mean accuracy of the discriminator, 1/2 is chance

Record = dict[str, Any]


def read_log(folder: Path) -> list[Record]:
    """log.jsonl of a run folder, without a last line that is being written."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]


def curve_rows(records: Sequence[Record], figure: str, sources: Sequence[str], part: str = "test") -> list[Record]:
    """A row with COLUMNS for every evaluation and language of `part` ("test" needs train.score_tests, or "dev").

    score: the figure of that language; source_dev: its mean over the source languages' dev files; losses and accuracy are
    means over the updates since the evaluation before.  None where there is nothing to average.  An evaluation that scored
    nothing of `part`, and the updates after the last one, have one row each, without language and score.
    """
    rows: list[Record] = []
    since: list[Record] = []
    for record in records:
        if record["kind"] == "update":
            since.append(record)
            continue
        source_dev = _mean(record["dev"][language][figure] for language in sources if language in record["dev"])
        means = {"source_dev": source_dev, **_means(since)}
        scores = [(language, score[figure]) for language, score in record.get(part, {}).items()] or [(None, None)]
        rows += [{"step": record["step"], "language": language, "score": score, **means} for language, score in scores]
        since = []
    if since:
        rows.append({"step": since[-1]["step"] + 1, "language": None, "score": None, "source_dev": None, **_means(since)})
    return rows


def _means(updates: Sequence[Record]) -> dict[str, float | None]:
    """The columns of losses and accuracy."""
    means = {f"loss_{loss}": _mean(u["value"] for u in updates if u["loss"] == loss)
             for loss in ("task", "discriminator", "generator")}
    return {**means, "discriminator_accuracy": _mean(u["accuracy"] for u in updates if u["loss"] == "discriminator")}


def _mean(values: Any) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def write_curves(folder: Path, records: Sequence[Record], evaluation: Evaluation) -> None:
    """curves.csv, where there was an update or an evaluation."""
    rows = curve_rows(records, main_figure(evaluation.task), evaluation.sources)
    if rows:
        write_atomically(folder / "curves.csv", as_csv(rows, COLUMNS))


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A header and the rows; None is an empty cell."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def balance(records: Sequence[Record]) -> str | None:
    """The verdict on the last tenth of the run; None for one without a discriminator."""
    told = [record for record in records if record["kind"] == "update" and record["loss"] == "discriminator"]
    if not told:
        return None
    last = [record["accuracy"] for record in told if record["step"] >= 0.9 * (told[-1]["step"] + 1)] or [told[-1]["accuracy"]]
    return verdict(sum(last) / len(last), "over the last tenth of the run")


def verdict(accuracy: float, when: str) -> str:
    """What a discriminator's mean accuracy means, and what to do where it is too good or worse than chance."""
    line = f"discriminator: accuracy {accuracy:.3f} {when}, 0.5 is chance"
    if accuracy >= NO_EFFECT:
        return f"{line}: the adversary has no effect; raise adversary.lr"
    if accuracy < NEAR_CHANCE[0]:
        return f"{line}: the two languages swap sides; lower adversary.lr or raise adversary.discriminator_lr"
    if accuracy <= NEAR_CHANCE[1]:
        return (f"{line}: near chance, it cannot tell the languages apart, which is the aim; whether a fresh one can, "
                "minixl evaluate --probe says")
    return line
