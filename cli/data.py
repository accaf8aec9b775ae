"""minixl data: write the sample corpus, describe data files, write them in other layouts, mix languages."""
from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path

import click

from minixl.cli.completion import complete_language_file
from minixl.cli.options import encoding_option, label_column_option, named_options, scheme_option, text_column_option
from minixl.cli.terminal import to_stderr
from minixl.data.code_switch import TRANSLATE, WORD
from minixl.data.corpus import Corpus, suspected_headers
from minixl.data.schemes import LETTERS
from minixl.errors import WARNING, UserError


@click.group()
def data() -> None:
    """Write the sample corpus; describe data files; write them in other layouts; replace words by translations."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random generator.")
def sample(folder: Path, seed: int) -> None:
    """Write the sample corpus to FOLDER: ner/LANGUAGE/PART.txt and topic/LANGUAGE/PART.tsv for en, es, de, nl."""
    from minixl.data.sample import write_sample

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: the folder is in use; choose a new or empty one")
    for path in write_sample(folder, seed=seed):
        click.echo(path)


@data.command()
@click.argument("task", type=click.Choice(["ner", "pos", "classification"]))
@click.argument("files", nargs=-1, required=True, metavar="LANGUAGE=FILE...", shell_complete=complete_language_file)
@text_column_option
@label_column_option
@encoding_option
@scheme_option
def stats(task: str, files: tuple[str, ...], text_column: str, label_column: str, encoding: str, scheme: str) -> None:
    """Count the inputs, words and labels of labelled files, and the inputs that also stand in a file before."""
    from minixl.data.corpus import read_corpus
    from minixl.data.counts import count_line
    from minixl.data.header import Columns
    from minixl.data.inputs import parse_language_file
    from minixl.data.sanity import shared_texts, texts_in

    columns = Columns(text_column, label_column)
    before: set[Hashable] = set()
    for pair in files:
        with named_options():
            corpus = read_corpus(task, *parse_language_file(pair, "data stats"), encoding=encoding, scheme=scheme,
                                 columns=columns)
        shared = shared_texts(corpus, before)
        before |= texts_in([corpus])
        click.echo(f"{corpus.language}: {count_line(corpus)}"
                   + (f"; inputs that also stand in a file before this one: {shared}" if shared else ""))
        _warn_of_hints(corpus.language, corpus)


@data.command()
@click.argument("task", type=click.Choice(["ner", "pos", "classification"]))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Labelled file to write, in UTF-8.  "
              "Its ending names the layout: .txt, .conll or .jsonl for ner and pos, .tsv, .csv or .jsonl for classification.")
@click.option("--to-scheme", type=click.Choice(list(LETTERS)), default="IOB2", show_default=True,
              help="Scheme of the entity tags to write.")
@text_column_option
@label_column_option
@encoding_option
@scheme_option
def convert(task: str, file: Path, out: Path, to_scheme: str, text_column: str, label_column: str, encoding: str,
            scheme: str) -> None:
    """Write a labelled file in another layout, encoding or scheme of tags: the same inputs and labels in the same order."""
    from minixl.data.convert import check_ending, in_scheme, write_corpus
    from minixl.data.corpus import read_corpus
    from minixl.data.counts import count_line
    from minixl.data.header import Columns

    check_ending(task, out)
    _check_not_read(out, [file])
    with named_options():
        corpus = read_corpus(task, "", file, encoding=encoding, scheme=scheme, columns=Columns(text_column, label_column))
        write_corpus(in_scheme(corpus, to_scheme) if task == "ner" else corpus, out)
    click.echo(f"{out}: {count_line(corpus)}" + (f"; scheme: {corpus.file_scheme} -> {to_scheme}" if task == "ner" else ""))
    _warn_of_hints(str(file), corpus)


@data.command("code-switch")
@click.argument("task", type=click.Choice(["ner", "pos", "classification"]))
@click.argument("file", metavar="LANGUAGE=FILE", shell_complete=complete_language_file)
@click.option("--dictionary", required=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Bilingual dictionary: a word and its translation on each line; a word with several has several lines.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Labelled file to write: .jsonl, "
              "for classification .csv, or with any other ending columns, or label, tab and text.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the draws.")
@click.option("--translate", type=click.Choice(TRANSLATE), default=WORD, show_default=True,
              help="Draw one translation for each word, or one for every place where it stands.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
              help="Share of the words with a translation that are replaced.")
@text_column_option
@label_column_option
@encoding_option
@scheme_option
def code_switch(task: str, file: str, dictionary: Path, out: Path, seed: int, translate: str, share: float, text_column: str,
                label_column: str, encoding: str, scheme: str) -> None:
    """Replace the words of a labelled file that a dictionary has by their translations; labels and tags stay."""
    import numpy as np

    from minixl.data.bilingual import read_translations
    from minixl.data.code_switch import CodeSwitch
    from minixl.data.convert import write_corpus
    from minixl.data.corpus import read_corpus
    from minixl.data.header import Columns
    from minixl.data.inputs import parse_language_file

    language, path = parse_language_file(file, "data code-switch")
    _check_not_read(out, [path, dictionary])
    with named_options():
        corpus = read_corpus(task, language, path, encoding=encoding, scheme=scheme, columns=Columns(text_column, label_column))
        switch = CodeSwitch(read_translations(dictionary, encoding), np.random.default_rng(seed), translate, share)
        switched = switch.corpus(corpus)
    write_corpus(switched, out)
    click.echo(f"{out}: {switch.report()}")


def _check_not_read(out: Path, files: Iterable[Path]) -> None:
    """Raises UserError if the file to write is one of those that are read."""
    if out.exists() and any(out.samefile(file) for file in files if file.exists()):
        raise UserError(f"--out {out}: expected a new file, found one that is read; choose another name")


def _warn_of_hints(name: str, corpus: Corpus) -> None:
    """Warn if a file looks misread.  name: of the file or its language."""
    if corpus.hint:
        to_stderr(f"{WARNING}{name}: {corpus.hint}")
    for _, document in suspected_headers([corpus]):
        to_stderr(f"{WARNING}{document.place(corpus.path)}: {document.hint}")
