"""minixl predict: tag or classify text from a file or standard input."""
from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from minixl.cli.options import device_option, encoding_option, named_options, threads_option, verbosity_options
from minixl.cli.terminal import printable, warn

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
@threads_option
@verbosity_options
def predict(model: Path, file: Path, output: str, kind: str, encoding: str, device: str) -> None:
    """Tag or classify FILE (default: -, standard input) with the model in folder MODEL."""
    from minixl.data.hints import raw_text_hint
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
            first = list(itertools.islice(lines, TEXTS))
            if hint := raw_text_hint(first, predictor.info.task, name):
                warn(f"{name}: {hint} (--input text turns this warning off)")
            lines = itertools.chain(first, lines)
        for line in _texts(predictor, lines, output, name):
            click.echo(line if output != "text" else printable(line))  # programs read the other formats
    if predictor.read.cut_words or predictor.read.cut_pieces:
        warn(predictor.read.report(name))


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
                yield json.dumps(_empty(predictor, line)) if output == "jsonl" else ""
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


def _empty(predictor: Any, line: str) -> dict[str, Any]:
    """Return the keys of a prediction for a line without text."""
    if predictor.model.pooling != "token":
        return {"text": line, "label": None, "confidence": None, "probabilities": {}}
    return {"text": line, "words": [], "tags": [], "confidences": [], **({"entities": []} if predictor.info.task == "ner" else {})}


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
    return add_column(lines, [answer.tags for answer in answers], name, entities=predictor.info.task == "ner")


def _chunks(lines: Iterable[tuple[int, str]], size: int) -> Iterator[list[tuple[int, str]]]:
    iterator = iter(lines)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
