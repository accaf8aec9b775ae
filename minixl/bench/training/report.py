"""The table of `minixl bench train`."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from minixl.bench.training.report_parts import LEGEND, lines_of
from minixl.bench.training.work import BATCH_KINDS


class Column(NamedTuple):
    title: str
    width: int
    figure: str                        # key of an engine's figures
    show: Callable[[float], str]
    ratio: str = ""                    # key of the ratios
    show_ratio: Callable[[float], str] = "{:.2f} x".format


COLUMNS = (Column("step s", 10, "step_seconds", "{:.3f}".format),
           Column("alone s", 10, "alone_step_seconds", "{:.3f}".format),
           Column("tokens/s", 11, "train_tokens_per_second", "{:.0f}".format, "train"),
           Column("predict tokens/s", 18, "predict_tokens_per_second", "{:.0f}".format, "predict"),
           Column("decode tokens/s", 17, "decode_tokens_per_second", "{:.0f}".format, "decode"),
           Column("peak MiB", 10, "peak_memory_bytes", lambda size: f"{size / 2 ** 20:.0f}", "peak_memory", "{:.0%}".format))
ENGINE = 14                            # width of the first column
TOKENS = {"bert": "word pieces", "bert-adversarial": "word pieces", "bilstm-crf": "words", "language-model": "words"}
STEP = "forward, backward, clip, {}, zero"
ITERATION = "one iteration, the updates T, D and G: " + STEP
OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}


def table(result: dict[str, Any]) -> str:
    """Return the report as text, with a legend below the tables."""
    device = "" if result["device"] == "cpu" else f"{result['device']}, "
    lines = heading(result, f"{device}{counted(result['threads'], 'thread')}")
    for batch_kind, figures in result["settings"].items():
        lines += ["", *block(BATCH_KINDS[batch_kind], figures)]
    return "\n".join([*lines, "", *legend(result)])


def heading(result: dict[str, Any], threads: str) -> list[str]:
    """The lines above the tables: what was trained, on how many threads, by which versions."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [f"{result['family']}: {result['model']}, {result['trained'] / 1e6:.1f} of {result['weights'] / 1e6:.1f} M "
            f"weights trained; {result.get('encoder') or result['source']}",
            f"{threads}, batches of {counted(result['batch_size'], 'sentence')}, each timed {counted(result['repeats'], 'time')}; "
            f"{versions}"]


def counted(number: int, thing: str, ending: str = "s") -> str:
    """Return '1 thing' or '2 things'."""
    return f"{number} {thing}{ending * (number != 1)}"


def legend(result: dict[str, Any]) -> list[str]:
    """Explain the columns."""
    step = (ITERATION if result["family"] == "bert-adversarial" else STEP).format(OPTIMIZERS[result["optimizer"]])
    lines = [f"step s: {step}; the mean of every batch's median, engines in turn",
             "alone s: every batch once more, in a process that holds this engine only; peak MiB: resident memory there",
             f"tokens: {TOKENS[result['family']]} without padding"]
    if any("tags" in figures for figures in result["settings"].values()):
        lines.append("predict: from words to tags, all full batches of the data; decode: from emissions to tags")
    if any("parts" in figures["engines"]["minixl"] for figures in result["settings"].values()):
        lines.append(LEGEND)
    return lines


def block(title: str, figures: dict[str, Any]) -> list[str]:
    """Return the lines for one kind of batches."""
    waste = 1 - figures["tokens"] / figures["padded_tokens"]
    columns = [column for column in COLUMNS if column.figure in figures["engines"]["minixl"]]
    lines = [f"batches {title}: {counted(figures['batches'], 'batch', 'es')}, {counted(figures['tokens'], 'token')}; padding would "
             f"be {waste:.0%} of a padded batch", row("engine", columns, [column.title for column in columns])]
    for engine, own in figures["engines"].items():
        lines.append(row(engine, columns, [column.show(own[column.figure]) for column in columns]))
    if "ratio" in figures:
        lines.append(row("minixl is", columns, [column.show_ratio(figures["ratio"][column.ratio]) if column.ratio else ""
                                                for column in columns]))
    if "products" in figures:
        p = figures["products"]
        lines.append(f"matrix products: {p['operations_per_second'] / 1e9:.0f} GFLOP/s at these shapes; the "
                     f"{p['operations_per_step'] / 1e9:.1f} GFLOP of a step need {p['seconds']:.3f} s, "
                     f"{p['share_of_step']:.0%} of minixl's")
    if "tags" in figures and "ratio" in figures:
        tags = figures["tags"]
        lines.append(f"tags: of {tags['words']} words {tags['words'] - tags['differ_decoded']} alike from the same emissions, "
                     f"{tags['words'] - tags['differ_predicted']} from the same parameters")
    if "parts" in figures["engines"]["minixl"]:
        lines += lines_of(figures["engines"]["minixl"])
    if "ratio" in figures:
        lines.append(summary(figures))
    return lines


def summary(figures: dict[str, Any]) -> str:
    """Return the speed ratios of one kind of batches as a sentence."""
    ratio, other = figures["ratio"], list(figures["engines"])[1]
    step = "an iteration" if "parts" in figures["engines"]["minixl"] else "a training step"
    speeds = [f"{step} {ratio['train']:.2f} times as fast as {other}"]
    if "decode" in ratio:
        speeds.append(f"the search for the best tags (decode) {ratio['decode']:.2f} times as fast as pytorch-crf's")
    return f"minixl does {', '.join(speeds)}"


def row(first: str, columns: Sequence[Column], cells: Sequence[str]) -> str:
    """Align the first cell to the left, the others to the right."""
    return f"{first:<{ENGINE}}" + "".join(f"{cell:>{column.width}}" for column, cell in zip(columns, cells, strict=True))
