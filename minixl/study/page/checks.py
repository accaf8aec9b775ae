"""The verdicts of `minixl study check` about the gradients on the page."""
from __future__ import annotations

import functools
from collections.abc import Iterable

from minixl.settings import Settings
from minixl.study.check import targets
from minixl.study.differences import Row, has_torch
from minixl.study.objectives import OBJECTIVES, OPTIONS

Verdict = tuple[str, float, bool]                  # compared with, worst relative error, passed


def verdicts_of_ops(files: Iterable[str]) -> dict[str, dict[str, list[Verdict]]]:
    """files: of ops, such as layernorm -> op -> argument -> its verdicts; those of all variants of an op are one."""
    rows = [row for target in targets(sorted(set(files))) if target.kind == "op" for row in _rows("op", target.name)]
    names = {row.name.partition(",")[0] for row in rows}
    return {name: _by_parameter([row for row in rows if row.name.partition(",")[0] == name]) for name in sorted(names)}


def verdicts_of_updates(settings: Settings, losses: Iterable[str]) -> dict[str, list[Verdict]]:
    """Return the verdicts about every update of a method and its terms, on small models, by loss."""
    names = [name for name in OBJECTIVES if _is_like(name, settings)]
    rows = [row for name in names for row in _rows("method", name)]
    return {loss: _worst([row for row in rows if row.name.endswith(f": {loss}")]) for loss in losses}


@functools.cache                                       # several pages of one process have the same ops and methods
def _rows(kind: str, name: str) -> list[Row]:
    [target] = [target for target in targets([name]) if (target.kind, target.name) == (kind, name)]
    return target.check(has_torch())


def _is_like(name: str, settings: Settings) -> bool:
    """Whether a small objective has the method and the model of these settings, or one of their terms."""
    if name not in OPTIONS:                                            # "mlma, language model"
        return name.partition(",")[0] == settings["method"]
    options, kind = OPTIONS[name], settings["model.type"]
    if options.get("model.type", "transformer") != kind and kind in ("transformer", "bilstm-crf"):
        return False
    switches = [switch for switch in ("linkage.level", "perturbation.kind", "adversary.level") if options.get(switch)]
    return all(settings[switch] != "none" for switch in switches) and (options["method"] == settings["method"] or bool(switches))


def _by_parameter(rows: list[Row]) -> dict[str, list[Verdict]]:
    return {name: _worst([row for row in rows if row.parameter == name]) for name in dict.fromkeys(row.parameter for row in rows)}


def _worst(rows: list[Row]) -> list[Verdict]:
    """Return the row with the largest error of each comparison; one that failed before any that passed."""
    found: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (row.passed, -row.error)):
        found.setdefault(row.against, row)
    return [(row.against, row.error, row.passed) for row in found.values()]
