"""minixl predict: tag or classify text from a file or standard input."""
from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from minixl.cli.options import (bar, device_option, encoding_option, named_options, text_column_option, threads_option,
                                verbosity_options)
from minixl.cli.terminal import is_quiet, warn
from minixl.errors import UserError

STDIN = "standard input"     # in messages


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path), default="-")
@click.option("--format", "output", type=click.Choice(["conll", "jsonl", "text"]), default=None,
              help="Output: columns, with the predicted tag last; JSON with offsets and confidences; text to read.  [default: the "
                   "layout of the input, with the predictions added]")
@click.option("--input", "layout", type=click.Choice(["auto", "text", "conll", "jsonl", "csv", "tsv"]), default="auto",
              show_default=True, help="Input: one text per line, CoNLL columns, JSON lines, or a table; auto recognises it by its "
              "first lines, and with --format conll expects columns.")
@text_column_option
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.0, show_default=True,
              help="Least confidence: what is less certain is left untagged, or gets no label.")
@click.option("--top", type=click.IntRange(1), metavar="K", help="Show the K most probable classes, for a classifier.")
@click.option("--confidences", is_flag=True, help="Add a column with each tag's confidence before the tag, with columns as output.")
@click.option("--language", default="", metavar="LANGUAGE",
              help="Language of FILE, such as es. A model with word vectors of several languages looks words up in its own; one of "
              "cross-augmented reads its source language with one encoder, and any other text with two.")
@encoding_option
@device_option
@threads_option
@verbosity_options
def predict(model: Path, file: Path, output: str | None, layout: str, text_column: str, threshold: float, top: int | None,
            confidences: bool, language: str, encoding: str, device: str) -> None:
    """Tag or classify FILE (default: -, standard input) with the model in folder MODEL.

    The lines of a pipe are answered as they come; columns are read to their end first.
    """
    from minixl.cli.predicting import TEXTS, FilePredictor, together
    from minixl.cli.rendering import Renderer
    from minixl.data.hints import bare_lines
    from minixl.data.recognition import TABLES, recognise_layout, separator_of, table_hint
    from minixl.prediction import Predictor

    if model.is_file():
        raise click.UsageError(f"{model}: expected the model folder first, then FILE.")
    predictor = Predictor.load(model, device=device).for_language(language)
    known = getattr(predictor.tokenizer, "languages", {})
    if language and known and language not in known:
        warn(f"--language {language}: the model has word vectors of {', '.join(known)}; words are looked up in all of them")
    task, labels, tagger = predictor.info.task, predictor.model.labels, predictor.model.pooling == "token"
    _check_model(model, tagger, layout, output, top)
    source, name, guessed = _open(file, encoding), STDIN if str(file) == "-" else str(file), layout == "auto"
    with named_options():
        first = together(source.lines, TEXTS, source.next_is_here)
        source = _with_first(first, source)
        if guessed:
            layout = recognise_layout(bare_lines(first), name, task, labels, text_column=text_column, columns=output == "conll")
        _check_options(layout, output or layout, text_column, confidences)
        separator = separator_of(layout, first, name, text_column)
        if layout in TABLES and not text_column and (hint := table_hint(separator, first, name, labels)):
            warn(f"{name}: {hint}; without that, the line is read as a text")
    renderer = Renderer(layout, output or layout, task, labels, separator, tagger=tagger, confidences=confidences, top=top)
    work = FilePredictor(predictor, renderer, name, threshold, top, guessed)
    with named_options(), bar(_count(file, encoding), "predicting") as advance:
        done = 0
        for line, text in work.printed(source.lines, source.next_is_here, text_column):
            click.echo(text, nl=False, color=True)                 # color: keep escape sequences of the input
            if advance:
                advance(line - done)
            done = line
    if predictor.read.cut_words or predictor.read.cut_pieces:
        warn(predictor.read.report(name))


def _check_model(model: Path, tagger: bool, layout: str, output: str | None, top: int | None) -> None:
    """Raises UserError for options that do not fit the model."""
    if not tagger and "conll" in (layout, output):
        option = "--input" if layout == "conll" else "--format"
        raise UserError(f"{option} conll: {model} is a classifier and labels whole texts; use --input text and --format jsonl "
                        "or text")
    if tagger and top:
        raise UserError(f"--top: expected a classifier, found a tagger in {model}")


def _check_options(layout: str, output: str, text_column: str, confidences: bool) -> None:
    """Raises UserError for options that do not fit the input or the output."""
    if text_column and layout in ("text", "conll"):
        raise UserError(f"--text-column: expected JSON lines or a table, found --input {layout}")
    if confidences and output != "conll":
        fix = "leave it out, since JSON has all confidences" if output == "jsonl" else "add --format conll"
        raise UserError(f"--confidences: expected columns as output, found {output}; {fix}")


class Source(NamedTuple):
    """The lines of the input, with their endings, and whether the next one can be read without waiting."""

    lines: Iterator[str]
    next_is_here: Callable[[], bool]


def _open(file: Path, encoding: str) -> Source:
    from minixl.data.arriving import Arriving, arrives
    from minixl.data.lines import raw_lines, stream_lines
    from minixl.distributed import group

    if str(file) != "-":
        return Source(raw_lines(file, encoding), lambda: True)
    if group().size > 1:
        raise UserError("standard input: mpiexec gives it to one process only; name a FILE")
    if not arrives(sys.stdin):
        return Source(stream_lines(sys.stdin.buffer, STDIN, encoding), lambda: True)
    pipe = Arriving(sys.stdin.fileno())
    return Source(stream_lines(pipe, STDIN, encoding), pipe.line_is_here)


def _with_first(lines: list[str], rest: Source) -> Source:
    """Return the source with lines before it that were already read."""
    waiting = deque(lines)

    def all_lines() -> Iterator[str]:
        while waiting:
            yield waiting.popleft()
        yield from rest.lines

    return Source(all_lines(), lambda: bool(waiting) or rest.next_is_here())


def _count(file: Path, encoding: str) -> int | None:
    """Return the number of lines for a progress bar; None where there is none: without a file, and where output would cross it."""
    from minixl.data.lines import raw_lines

    if is_quiet() or sys.stdout.isatty() or not sys.stderr.isatty() or not file.is_file():
        return None
    return sum(1 for _ in raw_lines(file, encoding))
