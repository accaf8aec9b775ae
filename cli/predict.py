"""minixl predict: tag or classify text from a file or standard input."""
from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from minixl.cli.options import device_option, encoding_option, named_options
from minixl.cli.terminal import printable

STDIN = "standard input"     # in messages
FEW = 5            # lines without tabs: fewer may look like columns by chance, as "Plan B" does
TEXTS = 256        # texts predicted together: enough for batches of similar length, few enough that output soon follows input


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path), default="-")
@click.option("--format", "output", type=click.Choice(["conll", "jsonl", "text"]), default="text", show_default=True,
              help="Output: the columns of the input and the predicted tag; JSON with offsets and confidences; text to read.")
@click.option("--input", "kind", type=click.Choice(["auto", "text", "conll"]), default="auto", show_default=True,
              help="Input: one text per line, or CoNLL columns; auto is conll with --format conll, else text.")
@encoding_option
@device_option
def predict(model: Path, file: Path, output: str, kind: str, encoding: str, device: str) -> None:
    """Tag or classify FILE (default: -, standard input) with the model in folder MODEL."""
    from minixl.errors import UserError
    from minixl.prediction import Predictor

    predictor = Predictor.load(model, device=device)
    tagger = predictor.model.pooling == "token"
    columns = kind == "conll" or (kind == "auto" and output == "conll")
    if not tagger and (columns or output == "conll"):
        option = "--input" if kind == "conll" else "--format"
        raise UserError(f"{option} conll: {model} is a classifier and labels whole texts; use --input text and --format jsonl "
                        "or text")
    if columns and output != "conll":
        raise UserError(f"--input conll: the output has the same columns and one more; use --format conll, not {output}")
    name = STDIN if str(file) == "-" else str(file)
    if columns:
        for line in _columns(predictor, list(_lines(file, encoding)), name):
            click.echo(line, nl=False)
    else:
        lines: Iterator[str] = (line.removeprefix("\ufeff" if i == 0 else "").rstrip("\r\n")
                                for i, line in enumerate(_lines(file, encoding)))
        if kind == "auto":
            lines = _warned(lines, predictor.info.task, name)
        for line in _texts(predictor, lines, output, name):
            click.echo(line if output != "text" else printable(line))  # programs read the other formats
    if predictor.read.cut_words or predictor.read.cut_pieces:
        click.echo(predictor.read.report(name), err=True)


def _warned(lines: Iterator[str], task: str, name: str) -> Iterator[str]:
    """The same lines.  A line on stderr where the first of them look like more than a text each.

    They are read as texts all the same: what was asked for, readable lines or JSON, has no place for the input's columns.
    """
    first = list(itertools.islice(lines, TEXTS))
    written = [line for line in first if line.strip()]
    if written and (found := _likeness(written, task, name)):
        click.echo(f"{name}: {found[0]}, but every line is read as a text; {found[1]} (--input text: no such message)", err=True)
    return itertools.chain(first, lines)


def _likeness(lines: Sequence[str], task: str, name: str) -> tuple[str, str] | None:
    """What these lines, none of them blank, look like, and the cure; None for texts."""
    from minixl.data.classification import header_of
    from minixl.data.corpus import TAGGING, in_columns
    from minixl.data.hints import one_word_lines
    from minixl.data.lines import kind_of

    alone, cells = "give the texts alone, one a line", [line.split("\t") for line in lines]
    columns = "--format conll reads columns" if task in TAGGING else alone
    if (len(lines) >= FEW or "\t" in lines[0]) and in_columns(task, lines):
        return "these lines look like columns, a word and its tag each", columns
    if task in TAGGING and one_word_lines(lines):
        return "nearly every line is one word", columns
    if kind_of(name) == ".jsonl" or (lines[0].startswith("{") and '"text"' in lines[0]):
        return "these lines look like JSON", alone
    headers = [header for mark in ",;" if (header := header_of(lines[0].split(mark))) and header[0] is not None]
    if headers or (kind_of(name) == ".csv" and all("," in line for line in lines)):
        return "these lines look like comma-separated values", alone
    width = min(map(len, cells))
    if width < 2:
        return None
    header = header_of(cells[0])
    text_at = header[1] if header else max(range(width), key=lambda i: sum(len(row[i].split()) for row in cells))
    skip = "tail -n +2 | " if header else ""
    return "these lines look like labels and texts", f"{alone}, for example with {skip}cut -f {text_at + 1}"


def _lines(file: Path, encoding: str) -> Iterator[str]:
    """Yield the lines with their endings."""
    from minixl.data.lines import raw_lines, stream_lines

    with named_options():
        yield from raw_lines(file, encoding) if str(file) != "-" else stream_lines(sys.stdin.buffer, STDIN, encoding)


def _texts(predictor: Any, lines: Iterable[str], output: str, name: str) -> Iterator[str]:
    """Predict one text per line; yield the output lines."""
    for chunk in _chunks(enumerate(lines, 1), TEXTS):
        texts = [(number, line) for number, line in chunk if line.strip()]
        answers = iter(predictor.predict([line for _, line in texts], path=name, lines=[number for number, _ in texts]))
        for _, line in chunk:                                             # empty lines are kept, so that line n stays line n
            if not line.strip():
                yield json.dumps({"text": line}) if output == "jsonl" else ""
                continue
            result = next(answers)
            if output == "jsonl":
                yield json.dumps(result, ensure_ascii=False)
            elif output == "conll":
                for (start, end), tag in zip(result["words"], result["tags"], strict=True):
                    yield f"{line[start:end]}\t{tag}"
                yield ""
            elif "label" in result:
                yield f"{result['label']}\t{result['confidence']:.2f}\t{line}"
            else:
                yield _bracketed(result)


def _bracketed(result: dict[str, Any]) -> str:
    """Format as [Angela Merkel PER 0.99] visited [Seville LOC 0.98], or plain tags as word/TAG."""
    text = result["text"]
    if "entities" not in result:
        return " ".join(f"{text[a:b]}/{tag}" for (a, b), tag in zip(result["words"], result["tags"], strict=True))
    out, position = [], 0
    for entity in result["entities"]:
        out += [text[position:entity["start"]], f"[{entity['text']} {entity['type']} {entity['confidence']:.2f}]"]
        position = entity["end"]
    return "".join([*out, text[position:]])


def _columns(predictor: Any, lines: list[str], name: str) -> Iterator[str]:
    """Add the predicted tag to the input's lines as one more column; their endings are kept."""
    from minixl.data.conll import add_column, check_words, parse_conll

    if name == STDIN and not any(line.strip() for line in lines):          # no input, no output
        return iter(lines)
    bare = [line.lstrip("\ufeff").rstrip("\r\n") for line in lines]
    file = parse_conll(bare, name, tags=False)
    if any(len(line.split()) > 1 for line in bare):                        # a single column may be all numbers
        check_words(file)
    sentences = file.sentences
    answers = predictor.tag([sentence.words for sentence in sentences], path=name, lines=[s.line for s in sentences])
    return add_column(lines, [answer.tags for answer in answers])


def _chunks(lines: Iterable[tuple[int, str]], size: int) -> Iterator[list[tuple[int, str]]]:
    iterator = iter(lines)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
