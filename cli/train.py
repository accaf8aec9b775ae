"""minixl train: parse, run, print the table."""
from __future__ import annotations

import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import click

from minixl.errors import UserError

NAMED = "LANGUAGE=FILE"
LINE_EVERY = 60                        # seconds between two lines of progress where there is no terminal


class Terminal:
    """Progress on stderr: a bar with tokens a second and the time left where there is a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.rate = 0.0
        self.said = 0.0                                                # when the last line of progress was

    def message(self, text: str) -> None:
        click.echo(f"\r\033[K{text}" if self.bar is not None and sys.stderr.isatty() else text, err=True)

    def start(self, total: int, done: int, what: str) -> None:
        self.rate, self.said = 0.0, time.monotonic()
        self.bar = click.progressbar(length=total, file=sys.stderr, label=what, show_pos=True, show_eta=True,
                                     item_show_func=lambda _: f"{self.rate:.0f} tokens/s" if self.rate else None)
        self.bar.__enter__()
        if done:
            self.bar.update(done)

    def step(self, tokens_per_second: float, count: int = 1) -> None:
        self.rate = tokens_per_second
        self.bar.update(count, current_item=True)
        if not sys.stderr.isatty() and time.monotonic() - self.said >= LINE_EVERY:
            self.said = time.monotonic()
            self.message(f"{self.bar.label} {self.bar.pos}/{self.bar.length}, {self.rate:.0f} tokens/s")

    def finish(self) -> None:
        self.bar.__exit__(None, None, None)
        self.bar = None


@click.command()
@click.argument("recipe", required=False)
@click.option("--encoder", type=click.Path(path_type=Path), help="Hugging Face folder: config.json, model.safetensors and "
              "tokenizer.json or vocab.txt.")
@click.option("--source", multiple=True, metavar=NAMED, help="Labelled text; several for multi-source transfer.")
@click.option("--dev", multiple=True, metavar=NAMED, help="Selects the model; in a target language it adds the column oracle.")
@click.option("--unlabelled", multiple=True, metavar=NAMED, help="Raw text, or a labelled file whose labels are not read.")
@click.option("--test", multiple=True, metavar=NAMED, help="Scored at the end, per language.")
@click.option("--vectors", multiple=True, metavar=NAMED, help="Word vectors (.vec, .txt, .gz, .bin) for a bilstm-crf.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the run; 1 if left out.")
@click.option("--seeds", type=click.IntRange(1), help="Run seeds 1 to K and report mean, sd and max.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Override a setting of the recipe; "
              "--show lists all.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; runs/RECIPE if left out.")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--show", is_flag=True, help="Print the settings of the recipe with their meanings, and stop.")
@click.option("--all", "show_all", is_flag=True, help="With --show: also the settings that this recipe does not use.")
def train(recipe: str | None, encoder: Path | None, source: tuple[str, ...], dev: tuple[str, ...],
          unlabelled: tuple[str, ...], test: tuple[str, ...], vectors: tuple[str, ...], seed: int | None, seeds: int | None,
          device: str, assignments: tuple[str, ...], out: Path | None, resume: bool, show: bool,
          show_all: bool) -> None:
    """Train a tagger or classifier on a language with labels and score it on the others.

    RECIPE is the name of a shipped recipe or a .toml file.  Left out, it is `quickstart`: a real encoder, a sample
    corpus in four languages, about two minutes on two cores.
    """
    from minixl.data.inputs import Inputs, parse_language_file
    from minixl.methods import SCHEMA

    if show_all and not show:
        raise click.UsageError("--all goes with --show")
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds exclude each other")
    name = recipe or "quickstart"
    settings = SCHEMA.recipe(name).override(assignments)
    if show:
        _show(settings, show_all)
        return
    out = out or Path("runs") / Path(name).stem
    roles = {"source": source, "dev": dev, "unlabelled": unlabelled, "test": test, "vectors": vectors}
    files = {role: [parse_language_file(pair, f"--{role}") for pair in pairs] for role, pairs in roles.items()}
    needed = encoder is None and settings["model.type"] == "transformer"
    no_inputs = encoder is None and not any(files.values())
    if resume and no_inputs:
        _resume(out, recipe, assignments, seed, seeds, device)
        return
    if name == "quickstart" and no_inputs:
        from minixl.run.quickstart import quickstart_inputs
        inputs = quickstart_inputs(lambda text: click.echo(text, err=True))
    elif resume and (needed or not source):
        raise click.UsageError("--resume: the inputs are in config.toml; leave out --encoder, --source, --dev, --unlabelled, "
                               "--test and --vectors")
    elif needed or not source:
        missing = "--encoder PATH" if needed else "--source LANGUAGE=FILE"
        raise click.UsageError(f"{missing} is missing; `minixl train` without any arguments runs the quickstart")
    else:
        inputs = Inputs(encoder, **files)
    _run(settings, inputs, out, seed, seeds, device, resume)


def _resume(out: Path, recipe: str | None, assignments: tuple[str, ...], seed: int | None, seeds: int | None,
            device: str) -> None:
    """--resume with --out alone: everything else is in config.toml."""
    from minixl.methods import SCHEMA
    from minixl.training.config import read_config

    first = next(iter(sorted(out.glob("seed-*/config.toml"))), None)
    settings, inputs, stored_seed = read_config(first.parent if first else out, SCHEMA)
    if recipe or assignments:
        settings = (SCHEMA.recipe(recipe) if recipe else settings).override(assignments)
    if first and seeds is None:
        raise UserError(f"--resume: {out} holds runs of several seeds; say how many with --seeds K")
    _run(settings, inputs, out, seed if seed is not None else stored_seed, seeds, device, resume=True)


def _run(settings: Any, inputs: Any, out: Path, seed: int | None, seeds: int | None, device: str, resume: bool) -> None:
    from minixl.backend import array_module_for
    from minixl.methods import train as train_method
    from minixl.training.progress import Stopped

    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt
        click.echo("\nstopping after this step (once more: at once)", err=True)

    xp = array_module_for(device)
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        warnings.filterwarnings("ignore", category=RuntimeWarning)      # overflow: the method stops with one clear line
        metrics = train_method(settings, inputs, out, seed=1 if seed is None else seed, seeds=range(1, (seeds or 0) + 1),
                               reporter=Terminal(), xp=xp, resume=resume, stop=lambda: bool(asked))
    except (Stopped, KeyboardInterrupt) as end:
        begun = isinstance(end, Stopped) or (out / ("seed-1" if seeds else "") / "config.toml").is_file()
        cure = f"; continue with: minixl train --resume --out {out}" + (f" --seeds {seeds}" if seeds else "")
        click.echo(("stopped" if isinstance(end, Stopped) else "interrupted") + (cure if begun else ""), err=True)
        sys.exit(128 + (asked[-1] if asked else signal.SIGINT))        # what a shell reports for a process ended by a signal
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    print_table(metrics)
    saved = f", {out / 'model'} the model" if (out / "model").is_dir() else ""
    click.echo(f"{out / 'metrics.json'} has all figures{saved}", err=True)


def print_table(metrics: dict[str, Any]) -> None:
    """Scores for each language, in the columns that a report has."""
    if not metrics["test"]:
        click.echo("no --test file was given, so nothing was scored", err=True)
        return
    from minixl.evaluation.scores import main_figure
    from minixl.report.scores import score_columns

    figure, columns = main_figure(metrics["task"]), score_columns(metrics)
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


def _show(settings: Any, everything: bool) -> None:
    """The settings by section; without `everything` only the sections that these settings use."""
    hidden = 0
    for section in settings.schema.sections:
        if not everything and not section.used(settings):
            hidden += len(section.settings)
            continue
        click.echo(f"# {section.title}")
        for name, setting in section.settings.items():
            click.echo(f"{name} = {settings[name]!r}")
            click.echo(f"    {setting.help}" + (f"  [{', '.join(setting.choices)}]" if setting.choices else ""))
        click.echo()
    if hidden:
        click.echo(f"{hidden} settings that this recipe does not use are not shown; --show --all shows them", err=True)
