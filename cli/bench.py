"""minixl bench: measure training, prediction and kernels."""
from __future__ import annotations

import json
from pathlib import Path

import click

from minixl.cli.options import threads_option, verbosity_options
from minixl.cli.terminal import to_stderr

json_option = click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path),
                           help="Also write all figures to FILE, as JSON.")


@click.group()
def bench() -> None:
    """Measure training, prediction and kernels."""


@bench.command()
@click.option("--encoder", type=click.Path(path_type=Path),
              help="Hugging Face folder of the encoder of a bert.  [default: the quickstart's]")
@click.option("--source", metavar="LANGUAGE=FILE", help="Sentences with entity tags.  [default: the sample corpus, English]")
@click.option("--against", type=click.Choice(["torch"]),
              help="Also measure the same model in PyTorch: from transformers, for bilstm-crf nn.LSTM with pytorch-crf, for "
              "language-model nn.TransformerEncoderLayer.")
@click.option("--model", "family", type=click.Choice(["bert", "bert-adversarial", "bilstm-crf", "language-model"]), default="bert",
              show_default=True, help="Family of models; bert-adversarial is BERT trained against a language discriminator, "
              "language-model the first stage of mlma-cpu.")
@click.option("--target", metavar="LANGUAGE=FILE",
              help="bert-adversarial, language-model: sentences in another language.  [default: the sample corpus, Spanish]")
@click.option("--level", type=click.Choice(["sentence", "token"]),
              help="bert-adversarial: whether the discriminator classifies sentences or tokens.  [default: token]")
@click.option("--batches", type=click.Choice(["both", "random", "grouped"]), default="both", show_default=True,
              help="Random batches, batches of sentences of similar length, or both.")
@click.option("--steps", type=click.IntRange(1), default=6, show_default=True, help="Batches of each kind.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Times each batch is measured.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Sentences per batch.")
@click.option("--max-length", type=click.IntRange(8), default=128, show_default=True,
              help="Maximum length of an input in word pieces (bilstm-crf: words).")
@click.option("--limit", type=click.IntRange(0), default=2000, show_default=True,
              help="Read only the first N sentences of each file; 0 reads all.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads of each engine.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
              help="Device of each engine; cuda for --model bert only. Peak memory is that of the host.")
@click.option("--freeze", multiple=True, metavar="PATTERN",
              help="Parameters not to train: a shell pattern, bottom:N (the embeddings and lowest N layers of BERT) or none; "
                   "repeatable.  [default: bottom:3; bilstm-crf: none]")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True,
              help="Seed of the batches, the initial parameters and dropout.")
@click.option("--ranks", metavar="N,N", help="Time a step shared out to so many processes over MPI, for example 1,2; they "
              "divide the threads; --model bert only. --against torch is then DistributedDataParallel over gloo.")
@json_option
@verbosity_options
def train(encoder: Path | None, source: str | None, against: str | None, family: str, target: str | None, level: str | None,
          batches: str, steps: int, repeats: int, batch_size: int, max_length: int, limit: int, threads: int,
          device: str, freeze: tuple[str, ...], seed: int, ranks: str | None, json_file: Path | None) -> None:
    """Time a training step (forward, backward, clip, update, zero) and prediction, on real sentences.

    For bert-adversarial a step is one iteration: the updates of the task, of the discriminator, and of the encoder against
    it.  Each part is also timed alone.  Prediction is not measured, since it is the same as for bert.

    With --against torch, PyTorch gets the same batches and the same weights; the engines take turns in one process.
    """
    from minixl.bench.checks import require_writable
    from minixl.bench.training import benchmark, ranks as of_ranks, report
    from minixl.bench.training.work import BATCH_KINDS, Options
    from minixl.data.inputs import parse_language_file
    from minixl.weights.e5 import encoder_folder

    require_writable("--json", json_file)
    encoder = encoder and encoder_folder(encoder)
    options = Options(encoder=encoder, source=parse_language_file(source, "--source") if source else None,
                      target=parse_language_file(target, "--target") if target else None, level=level, against=against,
                      family=family, batch_kinds=tuple(BATCH_KINDS) if batches == "both" else (batches,), steps=steps,
                      repeats=repeats, batch_size=batch_size, max_length=max_length, limit=limit, threads=threads,
                      freeze=tuple(pattern for pattern in freeze if pattern != "none") if freeze else None, seed=seed,
                      device=device)
    if ranks:
        result = of_ranks.run(options, _counts(ranks), to_stderr)
        click.echo(of_ranks.table(result))
    else:
        result = benchmark.run(options, to_stderr)
        click.echo(report.table(result))
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _counts(text: str) -> list[int]:
    """Return the numbers in "1,2".  Raises click.UsageError."""
    counts = [int(part) if part.strip().isdigit() else 0 for part in text.split(",")]
    if not all(counts):
        raise click.UsageError(f"--ranks: expected numbers of processes such as 1,2, found {text!r}")
    return counts


@bench.command()
@click.option("--encoder", type=click.Path(path_type=Path), help="Hugging Face folder of the encoder.  [default: the quickstart's]")
@click.option("--source", metavar="LANGUAGE=FILE",
              help="Sentences with entity tags, from which the texts are cut.  [default: the sample corpus, English]")
@click.option("--against", metavar="ENGINES", default="",
              help="Other engines, with commas between them: transformers, onnxruntime, openvino.")
@click.option("--lengths", type=click.Choice(["all", "posts", "sentences", "documents"]), default="all", show_default=True,
              help="Lengths of the texts: 12 words at most, whole sentences, about 240 words.")
@click.option("--pieces", type=click.IntRange(1), default=8000, show_default=True, help="Word pieces of each length.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Times each engine is measured.")
@click.option("--limit", type=click.IntRange(0), default=2000, show_default=True,
              help="Read only the first N sentences; 0 reads all.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads of each engine.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the head's weights.")
@json_option
@verbosity_options
def predict(encoder: Path | None, source: str | None, against: str, lengths: str, pieces: int, repeats: int, limit: int,
            threads: int, seed: int, json_file: Path | None) -> None:
    """Time prediction on texts of three lengths, sorted by length for every engine.

    The engines get the same weights; their results are compared before anything is timed.  ONNX Runtime is measured with the
    graph as exported and with its fused operators for BERT.  Lower precisions are shown beside float32: 8-bit weights with ONNX
    Runtime, bfloat16 with OpenVINO.
    """
    from minixl.bench.checks import require_writable
    from minixl.bench.prediction.benchmark import peers_of, run
    from minixl.bench.prediction.report import table
    from minixl.bench.prediction.texts import LENGTHS
    from minixl.bench.training.work import Options
    from minixl.data.inputs import parse_language_file
    from minixl.weights.e5 import encoder_folder

    require_writable("--json", json_file)
    peers = peers_of(against)
    options = Options(encoder=encoder and encoder_folder(encoder),
                      source=parse_language_file(source, "--source") if source else None, repeats=repeats, limit=limit,
                      threads=threads, freeze=(), seed=seed)
    result = run(options, peers, tuple(LENGTHS) if lengths == "all" else (lengths,), pieces, to_stderr)
    click.echo(table(result))
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


@bench.command()
@click.argument("ops", nargs=-1)
@click.option("--against", type=click.Choice(["torch", "faiss"]),
              help="Also time the same in PyTorch, or csls by faiss's exact search.")
@json_option
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path),
              help="Plot time against size to FILE, for example a .png or .pdf; needs matplotlib.")
@click.option("--readme", is_flag=True, help="Rewrite the table in kernels/README.md.")
@threads_option
@verbosity_options
def kernels(ops: tuple[str, ...], against: str | None, json_file: Path | None, plot_file: Path | None, readme: bool) -> None:
    """Time the CUDA kernels of OPS (default: all) against the limit of the device; without a GPU, time the NumPy ops."""
    from minixl.bench.kernels.benchmark import run
    run(ops, against=against, json_file=json_file, plot_file=plot_file, readme=readme, say=to_stderr)
