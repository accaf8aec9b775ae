"""minixl align: map word vectors of several languages into one space."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from minixl.cli.options import device_option, threads_option, verbosity_options
from minixl.cli.progress import Progress
from minixl.cli.terminal import stop_requests, to_stderr, warn

PARTS = {"nn": "nearest", "csls": "CSLS"}      # searches in metrics.json -> in the table


@click.command()
@click.option("--source", required=True, metavar="LANGUAGE=FILE",
              help="Word vectors of the source language: .vec or fastText's .bin, most frequent words first.")
@click.option("--target", "targets", multiple=True, required=True, metavar="LANGUAGE=FILE",
              help="Word vectors of a target language; repeatable, all share the source's space.")
@click.option("--method", type=click.Choice(["adversarial", "identical", "dictionary", "similarity"]),
              help="What the map is learnt from: both spaces alone (adversarial, similarity), words spelt alike, or a dictionary.  "
              "[default: adversarial]")
@click.option("--dictionary", "dictionaries", multiple=True, metavar="LANGUAGE=FILE",
              help="Pairs that --method dictionary learns from, one 'source-word target-word' a line.")
@click.option("--evaluate", "evaluations", multiple=True, metavar="LANGUAGE=FILE",
              help="Dictionary on which the map is scored; nothing is learnt or selected from it.")
@click.option("--restarts", type=click.IntRange(1), help="Attempts of an unsupervised method; the best by the criterion counts.  "
              "[default: 1]")
@click.option("--refine", type=click.IntRange(0), help="Iterations of refinement.  [default: 5]")
@click.option("--normalize", metavar="STEPS", help="Steps before the map, separated by commas, or none.  "
              "[default: unit,center,unit]")
@click.option("--size", type=click.Choice(["paper", "cpu"]), default="paper", show_default=True,
              help="Settings of the papers, or smaller ones for two CPU cores.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a setting, see docs/alignment.md.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the first attempt.")
@device_option
@threads_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--resume", is_flag=True, help="Continue a command that was stopped, with the same options.")
@verbosity_options
def align(source: str, targets: tuple[str, ...], method: str | None, dictionaries: tuple[str, ...], evaluations: tuple[str, ...],
          restarts: int | None, refine: int | None, normalize: str | None, size: str, assignments: tuple[str, ...], seed: int,
          device: str, out: Path, resume: bool) -> None:
    """Map word vectors of several languages into one space, with or without a dictionary.

    Writes LANGUAGE.vec and LANGUAGE.safetensors with the mapped vectors, and for each target a dictionary.tsv with scores.
    """
    from minixl.alignment.align import Request, Stopped
    from minixl.alignment.align import align as run
    from minixl.alignment.settings import SCHEMA, SIZES
    from minixl.backend import array_module_for
    from minixl.data.inputs import parse_language_file
    from minixl.report.page_of_alignment import write_alignment_page

    options = {"method": method, "align.restarts": restarts, "refine.iterations": refine}
    chosen = [f"{name}={value}" for name, value in options.items() if value is not None]
    if normalize is not None:
        chosen.append(f"align.normalize={'' if normalize == 'none' else normalize}")
    settings = SCHEMA.settings().override([*SIZES[size], *chosen, *assignments])
    language, path = parse_language_file(source, "--source")
    request = Request((language, str(path)), _by_language("--target", targets), _by_language("--dictionary", dictionaries),
                      _by_language("--evaluate", evaluations), settings, seed)
    xp = array_module_for(device)
    if not resume:
        _check_new(out)
    with stop_requests() as signals:
        try:
            metrics = run(request, out, Progress(), xp=xp, resume=resume, stop=lambda: bool(signals), lock=_lock(out, resume))
        except Stopped:
            warn("stopped; continue with the same command and --resume")
            sys.exit(128 + signals[-1])
    write_alignment_page(out, metrics)
    _print(metrics)
    to_stderr(f"{out} has the vectors, {out / 'report.html'} the curves and pictures")


def _by_language(option: str, pairs: tuple[str, ...]) -> dict[str, str]:
    """Return language -> file of a repeatable option.  Raises UserError for a language given twice."""
    from minixl.data.inputs import parse_language_file
    from minixl.errors import UserError

    files: dict[str, str] = {}
    for pair in pairs:
        language, path = parse_language_file(pair, option)
        if language in files:
            raise UserError(f"{option} {language}=...: expected one file per language, found {files[language]} and {path}")
        files[language] = str(path)
    return files


@contextmanager
def _lock(out: Path, resume: bool) -> Iterator[None]:
    """Create the folder and lock it."""
    from minixl.run.folder import create, locked

    create(out)
    with locked(out):
        if not resume:
            _check_new(out)                        # another process may have used it meanwhile
        yield


def _check_new(out: Path) -> None:
    """Raises UserError unless the folder is new or empty."""
    from minixl.alignment.storage import CONFIG, METRICS
    from minixl.errors import UserError

    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: expected a folder, found a file; choose another name")
    if out.exists() and any(entry.name != ".lock" for entry in out.iterdir()):
        begun = (out / CONFIG).is_file() and not (out / METRICS).is_file()
        raise UserError(f"--out {out}: the folder is in use; choose another"
                        + (", or continue with the same command and --resume" if begun else ""))


def _print(metrics: dict[str, Any]) -> None:
    """Print the criterion of each map and, where a dictionary was given, precision in percent."""
    scored = any("refined" in one for one in metrics["targets"].values())
    precisions = [f"{search} @{at}" for search in PARTS.values() for at in (1, 5, 10)] if scored else []
    click.echo(f"{'map':<10}{'criterion':>10}{'chance':>8}{'pairs':>8}" + "".join(f"{name:>13}" for name in precisions))
    for target, one in metrics["targets"].items():
        cells = [100 * one["refined"][part][at] for part in PARTS for at in ("1", "5", "10")] if "refined" in one else []
        click.echo(f"{metrics['source'] + '-' + target:<10}{one['criterion']:>10.3f}{one['chance']:>8.3f}"
                   f"{one['dictionary_pairs']:>8}" + "".join(f"{value:>13.1f}" for value in cells))
