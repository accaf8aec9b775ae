"""minixl bench: measure training, prediction and kernels."""
from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def bench() -> None:
    """Measure training, prediction and kernels."""


@bench.command()
@click.option("--encoder", type=click.Path(path_type=Path),
              help="Hugging Face folder; the quickstart's if left out. bilstm-crf has none.")
@click.option("--source", metavar="LANGUAGE=FILE", help="Sentences with entity tags; the sample corpus if left out.")
@click.option("--against", type=click.Choice(["torch"]),
              help="Compare with the same model in PyTorch: that of transformers, or nn.LSTM with pytorch-crf.")
@click.option("--model", "family", type=click.Choice(["bert", "bert-adversarial", "bilstm-crf"]), default="bert",
              show_default=True, help="Family of models; bert-adversarial is a BERT trained against a language discriminator.")
@click.option("--target", metavar="LANGUAGE=FILE",
              help="bert-adversarial: text of another language; the sample corpus's Spanish if left out.")
@click.option("--level", type=click.Choice(["sentence", "token"]),
              help="bert-adversarial: what the discriminator judges.  [default: token]")
@click.option("--batches", type=click.Choice(["both", "random", "grouped"]), default="both", show_default=True,
              help="Random batches padded to their longest sentence, or batches of sentences of similar length.")
@click.option("--steps", type=click.IntRange(1), default=6, show_default=True, help="Number of batches of each kind.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Times each is measured.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Sentences a batch.")
@click.option("--max-length", type=click.IntRange(8), default=128, show_default=True,
              help="Longest input in word pieces, for bilstm-crf in words.")
@click.option("--limit", type=click.IntRange(0), default=2000, show_default=True,
              help="Read the first N sentences of a file; 0: all.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads of each engine.")
@click.option("--freeze", multiple=True, metavar="PATTERN",
              help="Parameters that are not trained: shell patterns, bottom:N (embeddings and N layers of a BERT), or none.  "
                   "[default: none for bilstm-crf, else bottom:3]")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Chooses the batches.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures to FILE.")
def train(encoder: Path | None, source: str | None, against: str | None, family: str, target: str | None, level: str | None,
          batches: str, steps: int, repeats: int, batch_size: int, max_length: int, limit: int, threads: int,
          freeze: tuple[str, ...], seed: int, json_file: Path | None) -> None:
    """Time a training step (forward, backward, clip, update, zero) and prediction, on real sentences.

    Of bert-adversarial a step is an iteration: updates of the task, of the discriminator and of the encoder against it.
    Its parts are measured alone as well.  It predicts as bert does, so that is not measured.

    With --against torch the same batches go through PyTorch with the same weights, in turn in one process.
    """
    from minixl.bench.checks import require_writable
    from minixl.bench.training.benchmark import run
    from minixl.bench.training.report import table
    from minixl.bench.training.work import BATCH_KINDS, Options
    from minixl.data.inputs import parse_named

    require_writable("--json", json_file)
    options = Options(encoder=encoder, source=parse_named(source, "--source") if source else None,
                      target=parse_named(target, "--target") if target else None, level=level, against=against,
                      family=family, batch_kinds=tuple(BATCH_KINDS) if batches == "both" else (batches,), steps=steps,
                      repeats=repeats, batch_size=batch_size, max_length=max_length, limit=limit, threads=threads,
                      freeze=tuple(pattern for pattern in freeze if pattern != "none") if freeze else None, seed=seed)
    result = run(options, lambda text: click.echo(text, err=True))
    click.echo(table(result))
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


@bench.command()
@click.argument("ops", nargs=-1)
@click.option("--against", type=click.Choice(["torch"]), help="Time PyTorch's way of doing it too.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures to FILE.")
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Draw time against size to FILE.")
@click.option("--readme", is_flag=True, help="Rewrite the table in kernels/README.md.")
def kernels(ops: tuple[str, ...], against: str | None, json_file: Path | None, plot_file: Path | None, readme: bool) -> None:
    """Time the CUDA kernels of OPS (all if left out), or on a CPU the NumPy ops, against the limit of the device."""
    from minixl.bench.kernels.benchmark import run
    run(ops, against=against, json_file=json_file, plot_file=plot_file, readme=readme,
        say=lambda text: click.echo(text, err=True))
