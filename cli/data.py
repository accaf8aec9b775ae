"""minixl data: write the sample corpus, describe data files."""
from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from pathlib import Path

import click

from minixl.cli.options import encoding_option, named_options, scheme_option
from minixl.cli.terminal import to_stderr

LISTED = 20          # labels that `data stats` prints for a file


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
@click.argument("files", nargs=-1, required=True, metavar="LANGUAGE=FILE...")
@encoding_option
@scheme_option
def stats(task: str, files: tuple[str, ...], encoding: str, scheme: str) -> None:
    """Count the inputs, words and labels of labelled files, and the inputs that also stand in a file before."""
    from minixl.data.corpus import read_corpus
    from minixl.data.inputs import parse_language_file
    from minixl.data.sanity import shared_texts, texts_in
    from minixl.data.schemes import spans

    before: set[Hashable] = set()
    for pair in files:
        with named_options():
            corpus = read_corpus(task, *parse_language_file(pair, "data stats"), encoding=encoding, scheme=scheme)
        counts: Counter[str] = Counter()
        for gold in corpus.gold():
            counts.update([gold] if isinstance(gold, str) else [kind for kind, _, _ in spans(gold)] if task == "ner" else gold)
        words = sum(len(s.words) for s in corpus.sentences()) + sum(len(d.text.split()) for d in corpus.documents())
        listed = ", ".join(f"{label} {count}" for label, count in sorted(counts.items())[:LISTED])
        if len(counts) > LISTED:
            listed += f", and {len(counts) - LISTED} more labels"
        shared = shared_texts(corpus, before)
        before |= texts_in([corpus])
        click.echo(f"{corpus.language}: {len(corpus.inputs)} inputs, {words} words; {listed or 'no labels'}"
                   + (f"; tags that broke the scheme and were repaired: {corpus.repaired}" if corpus.repaired else "")
                   + (f"; inputs that also stand in a file before this one: {shared}" if shared else ""))
        if corpus.hint:
            to_stderr(f"warning: {corpus.language}: {corpus.hint}")
