"""minixl data: write the sample corpus, describe data files."""
from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import click

from minixl.cli.completion import complete_language_file
from minixl.cli.options import encoding_option, label_column_option, named_options, scheme_option, text_column_option
from minixl.cli.terminal import to_stderr


@click.group()
def data() -> None:
    """Write the sample corpus; describe data files."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random generator.")
def sample(folder: Path, seed: int) -> None:
    """Write the sample corpus to FOLDER: ner/LANGUAGE/PART.txt and topic/LANGUAGE/PART.tsv for en, es, de, nl."""
    from minixl.data.sample import write_sample
    from minixl.errors import UserError

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
        if corpus.hint:
            to_stderr(f"warning: {corpus.language}: {corpus.hint}")
