"""The functions of minixl.report as `minixl report` and a run call them: with all settings and losses that exist."""
from __future__ import annotations

import functools
from pathlib import Path

from minixl.evaluation.scores import main_figure
from minixl.methods import LOSSES, METHODS, SCHEMA
from minixl.report import comparison, folders, grouping, page_of_run
from minixl.training.log import read_log

read_folder = functools.partial(folders.read_folder, schema=SCHEMA)
group = functools.partial(grouping.group, schema=SCHEMA)
write_comparison = functools.partial(comparison.write_comparison, schema=SCHEMA, losses=LOSSES)
update_curves = functools.partial(page_of_run.update_curves, losses=LOSSES)


def write_report(folder: Path, metrics: dict, unit: str = "word pieces") -> None:
    """report.html from metrics.json's content, the log and what the method adds."""
    records = read_log(folder, main_figure(metrics["task"]))
    page_of_run.write_report(folder, metrics, records, LOSSES, unit, METHODS[metrics["method"]].report(folder, metrics))
