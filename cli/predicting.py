"""From the lines of a file or a pipe to what `minixl predict` prints, as much at a time as is there."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from minixl.cli.rendering import Answer, Renderer
from minixl.cli.terminal import warn
from minixl.data.conll import ConllFile, add_column, check_words, parse_conll
from minixl.data.hints import bare_lines, columns_hint, raw_text_hint
from minixl.data.recognition import COLUMNS, OBJECTS, TEXTS as RAW, object_keys
from minixl.data.records import Record, object_records, table_records, text_records
from minixl.errors import UserError
from minixl.prediction import Predictor

TEXTS = 256                  # inputs predicted together: enough for batches of similar length, few enough that output soon follows
SENTENCES = 2048             # of columns, which are read to their end anyway

Printed = tuple[int, str]    # the last line of the input that is done, from 1, and the output for it and those before


@dataclass
class FilePredictor:
    predictor: Predictor
    renderer: Renderer
    name: str                # of the file, in messages
    threshold: float
    top: int | None
    guessed: bool            # nobody named the layout: warn if the lines look like another one

    def printed(self, lines: Iterator[str], next_is_here: Callable[[], bool], text_column: str = "") -> Iterator[Printed]:
        """Yield the output.  lines: with their endings; next_is_here: whether the next one can be read without waiting."""
        layout, task = self.renderer.layout, self.predictor.info.task
        if layout == COLUMNS:
            yield from self._columns(list(lines))
        elif layout == RAW:
            yield from self._records(text_records(lines), next_is_here, suspect=self.guessed)
        elif layout == OBJECTS:
            keys = (text_column,) if text_column else object_keys(task)
            yield from self._records(object_records(lines, self.name, keys), next_is_here)
        else:
            yield from self._records(table_records(lines, self.name, self.renderer.separator, text_column), next_is_here)

    def _records(self, records: Iterator[Record], next_is_here: Callable[[], bool], *, size: int | None = None,
                 suspect: bool = False) -> Iterator[Printed]:
        seen: list[str] = []
        while chunk := together(records, size or TEXTS, next_is_here):
            if suspect and len(seen) < TEXTS:
                seen += [record.source for record in chunk]
                if hint := raw_text_hint(seen, self.predictor.info.task, self.name):
                    warn(f"{self.name}: {hint} (--input text turns this warning off)")
                    suspect = False
            yield chunk[-1].line, "".join(map(self.renderer.render, chunk, self._answers(chunk)))

    def _answers(self, chunk: list[Record]) -> list[Answer | None]:
        """Return the answer for every record that holds a word; None for the others."""
        answers: list[Answer | None] = [None] * len(chunk)
        texts: dict[int, str] = {}
        sentences: dict[int, tuple[str, ...]] = {}
        for i, content in enumerate(record.content for record in chunk):
            if isinstance(content, tuple) and content and self.renderer.tagger:
                sentences[i] = content
            elif content is not None and (text := content if isinstance(content, str) else " ".join(content)).strip():
                texts[i] = text
        numbers = [record.line for record in chunk]
        if texts:
            results = self.predictor.predict(texts.values(), threshold=self.threshold, top=self.top, path=self.name,
                                             lines=[numbers[i] for i in texts])
            for i, result in zip(texts, results, strict=True):
                answers[i] = result
        if sentences:
            results = self.predictor.predict_words(list(sentences.values()), threshold=self.threshold, path=self.name,
                                                   lines=[numbers[i] for i in sentences])
            for i, result in zip(sentences, results, strict=True):
                answers[i] = result
        return answers

    def _columns(self, lines: list[str]) -> Iterator[Printed]:
        """Add the tags to the lines of columns, or print their sentences in another format."""
        bare = bare_lines(lines)
        if not any(map(str.strip, bare)) and self.name == "standard input":        # nothing in, nothing out
            yield len(lines), "".join(lines) if self.renderer.output == COLUMNS else ""
            return
        sentences = self._parsed(bare).sentences
        if self.renderer.output != COLUMNS:
            records = (Record(sentence.line, "", sentence.words) for sentence in sentences)
            yield from self._records(records, lambda: True, size=SENTENCES)
            return
        out = enumerate(add_column(lines, self._tags(iter(sentences)), self.name, entities=self.predictor.info.task == "ner"), 1)
        while chunk := list(islice(out, SENTENCES)):
            yield chunk[-1][0], "".join(line for _, line in chunk)

    def _parsed(self, bare: list[str]) -> ConllFile:
        """Read columns; warn if nobody said that these lines are columns, and they look like texts."""
        hint = columns_hint(bare[:TEXTS]) if self.guessed else ""
        try:
            file = parse_conll(bare, self.name, tags=False)
            if any(len(line.split()) > 1 for line in bare):                        # a single column may be all numbers
                check_words(file)
        except UserError:
            if hint:
                raise UserError(f"{self.name}: {hint}; use --input text for one text per line") from None
            raise
        if hint:
            warn(f"{self.name}: {hint}; use --input text for one text per line (--input conll turns this warning off)")
        return file

    def _tags(self, sentences: Iterator[Any]) -> Iterator[list[str | tuple[str, str]]]:
        """Yield what add_column writes for every sentence."""
        while chunk := list(islice(sentences, SENTENCES)):
            answers = self.predictor.tag([sentence.words for sentence in chunk], threshold=self.threshold, path=self.name,
                                         lines=[sentence.line for sentence in chunk])
            for answer in answers:
                if self.renderer.confidences:
                    yield [(f"{p:.4f}", tag) for p, tag in zip(answer.confidences.tolist(), answer.tags, strict=True)]
                else:
                    yield [*answer.tags]


def together(items: Iterator[Any], size: int, next_is_here: Callable[[], bool]) -> list[Any]:
    """Wait for the next item and take with it those that need no waiting, at most `size`; none at the end."""
    taken = list(islice(items, 1))
    while taken and len(taken) < size and next_is_here() and (item := next(items, None)) is not None:
        taken.append(item)
    return taken
