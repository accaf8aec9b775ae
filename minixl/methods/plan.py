"""Turn the arguments of `minixl train` into the settings, inputs, seeds and folder of a run.

A recipe that is the config.toml or the folder of a run repeats that run: its settings, inputs and seed, unless replaced.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from minixl.backend import array_module_for
from minixl.data.inputs import Inputs, LanguageFiles
from minixl.distributed.launch import together
from minixl.errors import UserError
from minixl.methods import METHODS, SCHEMA, train
from minixl.settings import Settings, is_config, read_toml, recipe_path
from minixl.training.config import read_config
from minixl.training.metrics import Metrics
from minixl.training.progress import Logged, Reporter
from minixl.weights.e5 import encoder_folder

QUICKSTART = "quickstart"
Files = Mapping[str, LanguageFiles]            # role -> its files
Named = str | Path | Sequence[str | Path]      # the file of a language, or its files


class WrongUsage(UserError):
    """Arguments are missing or exclude each other; exit code 2 on the command line."""


class Plan(NamedTuple):
    """What a run starts from."""

    settings: Settings
    inputs: Inputs
    out: Path
    seed: int
    seeds: range                               # empty: one run


def plan_run(recipe: str | Path | None, override: Callable[[Settings], Settings] | None, *, encoder: Path | None, files: Files,
             out: Path | None, seed: int | None, seeds: int | None, resume: bool, report: Callable[[str], None]) -> Plan:
    """Return what to run.  Raises WrongUsage, or UserError for other mistakes.

    override: changes the settings of the recipe; None: keep them.  report: receives the paths of the quickstart's inputs.
    """
    if seed is not None and seeds is not None:
        raise WrongUsage("--seed and --seeds exclude each other")
    for option, number, least in (("seed", seed, 0), ("seeds", seeds, 1)):
        if number is not None and number < least:
            raise UserError(f"--{option}: expected a whole number of at least {least}, found {number}")
    name = recipe or QUICKSTART
    settings = (override or _unchanged)(SCHEMA.recipe(name))
    encoder = encoder and encoder_folder(encoder)
    no_inputs = encoder is None and not any(files.values())
    if resume and no_inputs:
        out = out or Path("runs") / Path(name).stem
        settings, inputs, stored_seed = _resumed(out, recipe, override, seeds)
        return _plan(settings, inputs, out, seed, seeds, stored_seed)
    old_inputs, old_seed = _old_run(name, seed, seeds)
    if old_inputs and out is None:
        raise WrongUsage("--out FOLDER is missing; repeating a run needs a new folder")
    out = out or Path("runs") / Path(name).stem
    if old_inputs:
        return _plan(settings, _with_replaced(old_inputs, encoder, files), out, seed, seeds, old_seed)
    lacks_encoder = encoder is None and settings["model.type"] == "transformer"
    if name == QUICKSTART and no_inputs:
        from minixl.run.quickstart import quickstart_inputs
        return _plan(settings, quickstart_inputs(report), out, seed, seeds)
    lacks_source = not files["source"] and not METHODS[settings["method"]].labels_optional
    if resume and (lacks_encoder or lacks_source):
        raise WrongUsage("--resume: the inputs are in config.toml; leave out --encoder, --source, --dev, --unlabelled, "
                         "--test and --vectors")
    if lacks_encoder or lacks_source:
        missing = "--encoder PATH" if lacks_encoder else "--source LANGUAGE=FILE"
        raise WrongUsage(f"{missing} is missing; `minixl train` without any arguments runs the quickstart")
    return _plan(settings, Inputs(encoder, **files), out, seed, seeds)


def _unchanged(settings: Settings) -> Settings:
    return settings


def _plan(settings: Settings, inputs: Inputs, out: Path, seed: int | None, seeds: int | None, otherwise: int = 1) -> Plan:
    return Plan(settings, inputs, out, otherwise if seed is None else seed, range(1, (seeds or 0) + 1))


def _resumed(out: Path, recipe: str | Path | None, override: Callable[[Settings], Settings] | None, seeds: int | None
             ) -> tuple[Settings, Inputs, int]:
    """Return settings, inputs and seed of the run in `out`; a recipe and changed settings are compared with them later."""
    first = next(iter(sorted(out.glob("seed-*/config.toml"))), None)
    settings, inputs, seed = read_config(first.parent if first else out, SCHEMA)
    if recipe or override:
        settings = (override or _unchanged)(SCHEMA.recipe(recipe) if recipe else settings)
    if first and seeds is None:
        raise UserError(f"--resume: {out} holds runs of several seeds; say how many with --seeds K")
    return settings, inputs, seed


def _old_run(recipe: str | Path, seed: int | None, seeds: int | None) -> tuple[Inputs | None, int]:
    """Return inputs and seed of the run that the recipe names; None and 1 if it names no run."""
    path = recipe_path(recipe, Path(), f"recipe {str(recipe)!r}")
    tables = read_toml(path)
    if not is_config(tables):
        return None, 1
    if Path(recipe).is_dir() and path.parent != Path(recipe) and seed is None and seeds is None:
        raise UserError(f"{recipe}: holds runs of several seeds; say how many to repeat with --seeds K, or choose one with "
                        "--seed N")
    try:
        table: dict[str, Any] = tables["inputs"]
        return Inputs.from_table(table), int(tables["seed"])
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: expected the seed and the inputs of a run as minixl wrote them, found a damaged file ({error}); "
                        "use the config.toml of another run") from None


def _with_replaced(inputs: Inputs, encoder: Path | None, files: Files) -> Inputs:
    """Return the inputs with those that were given anew in place of the old ones."""
    new: dict[str, Any] = {role: pairs for role, pairs in files.items() if pairs}
    return replace(inputs, encoder=encoder or inputs.encoder, **new)


def train_recipe(recipe: str | Path | None, *, encoder: str | Path | None, files: Mapping[str, Mapping[str, Named] | None],
                 settings: Mapping[str, Any] | None, out: str | Path | None, seed: int | None, seeds: int | None, device: str,
                 resume: bool, reporter: Reporter | None) -> Metrics:
    """Train as minixl.train says, and return the content of metrics.json."""
    reporter = Logged() if reporter is None else reporter
    override = (lambda of_recipe: Settings(SCHEMA, {**of_recipe, **settings})) if settings else None
    plan = plan_run(recipe, override, encoder=Path(encoder) if encoder else None, out=Path(out) if out else None, seed=seed,
                    files={role: _language_files(role, of_role) for role, of_role in files.items()}, seeds=seeds, resume=resume,
                    report=reporter.message)
    with together(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)      # overflow: training stops with one clear line
        return train(plan.settings, plan.inputs, plan.out, seed=plan.seed, seeds=plan.seeds, reporter=reporter,
                     xp=array_module_for(device), resume=resume)


def _language_files(role: str, files: Mapping[str, Named] | None) -> LanguageFiles:
    if not isinstance(files, Mapping | None):
        raise TypeError(f'train: {role}: expected languages and files such as {{"en": "train.txt"}}, got {type(files).__name__}')
    return [(language, Path(path)) for language, paths in (files or {}).items()
            for path in ([paths] if isinstance(paths, str | Path) else paths)]
