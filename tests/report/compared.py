"""The functions of minixl.report as `minixl report` and a run call them: with all settings and losses that exist."""
from __future__ import annotations

import functools
from datetime import datetime
from pathlib import Path

from minixl.evaluation.scores import main_figure
from minixl.methods import LOSSES, METHODS, SCHEMA
from minixl.report import comparison, folders, grouping, page_of_run
from minixl.report.provenance import Provenance
from minixl.run.folder import read_digests
from minixl.training.config import read_any_config
from minixl.training.log import read_log

read_folder = functools.partial(folders.read_folder, schema=SCHEMA)
group = functools.partial(grouping.group, schema=SCHEMA)
write_comparison = functools.partial(comparison.write_comparison, schema=SCHEMA, losses=LOSSES)
update_curves = functools.partial(page_of_run.update_curves, losses=LOSSES)


def write_report(folder: Path, metrics: dict, unit: str = "word pieces",
                 counts: dict[tuple[str, str], int] | None = None) -> None:
    """Write report.html from the content of metrics.json, the log, config.toml, inputs.json and the method's section."""
    records = read_log(folder, main_figure(metrics["task"]))
    values, inputs, _ = read_any_config(folder, SCHEMA)
    settings = SCHEMA.settings({name: value for name, value in values.items() if name in SCHEMA})
    provenance = Provenance(settings, inputs, read_digests(folder), counts or {}, datetime(2026, 3, 1, 14, 5))
    page_of_run.write_report(folder, metrics, records, LOSSES, unit, METHODS[metrics["method"]].report(folder, metrics), provenance)
