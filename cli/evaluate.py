"""minixl evaluate: score a model folder on labelled files."""
from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, metavar="LANGUAGE=FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--strict", is_flag=True, help="Entities must be literal IOB2; the default reads them as conlleval does.")
@click.option("--limit", type=click.IntRange(0), default=0, help="Score the first N inputs of each file; 0: all.")
@click.option("--encoding", default="utf-8", show_default=True, help="Character encoding of the files.")
@click.option("--scheme", type=click.Choice(["auto", "IOB1", "IOB2", "IOBES", "BIOUL"]), default="auto", show_default=True,
              help="How entity tags are written.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute.")
def evaluate(model: Path, files: tuple[str, ...], as_json: bool, strict: bool, limit: int, encoding: str,
             scheme: str, device: str) -> None:
    """Score the model folder MODEL on labelled files, one a language."""
    from minixl.cli.options import encoding_option
    from minixl.data.corpus import check_labels, encode, read_corpus
    from minixl.evaluation import score
    from minixl.prediction import Predictor, predict_labels
    from minixl.runs import once, parse_named

    predictor = Predictor.load(model, device=device)
    info = predictor.info
    named = [parse_named(pair, "evaluate") for pair in files]
    once("evaluate ", [language for language, _ in named])
    with encoding_option():
        corpora = [read_corpus(info.task, language, path, encoding=encoding, scheme=scheme).limited(limit)
                   for language, path in named]
    for corpus in corpora:
        check_labels(corpus, info.labels)
    results = {}
    for corpus in corpora:
        encoded = encode(corpus, predictor.tokenizer, info.labels, max_length=info.max_length, on_long=info.on_long)
        click.echo(encoded.report(corpus.language), err=True)
        predicted = predict_labels(predictor.model, encoded, info.task, constrained=info.constrained)
        results[corpus.language] = score(info.task, corpus.gold(), predicted, strict=strict)
    if as_json:
        click.echo(json.dumps(results, indent=2))
        return
    if info.task != "ner":
        click.echo(f"{'language':<12}{'accuracy':>10}{'items':>10}")
        for language, result in results.items():
            click.echo(f"{language:<12}{100 * result['accuracy']:>10.1f}{result['support']:>10}")
        return
    click.echo(f"{'language':<12}{'type':<10}{'precision':>10}{'recall':>10}{'f1':>10}{'entities':>10}")
    for language, result in results.items():
        for kind, row in [("all", result), *result["by_type"].items()]:
            click.echo(f"{language:<12}{kind:<10}{100 * row['precision']:>10.1f}{100 * row['recall']:>10.1f}"
                       f"{100 * row['f1']:>10.1f}{row['support']:>10}")
    click.echo(f"entities matched {'strictly, as IOB2' if strict else 'leniently, as conlleval does'}", err=True)
