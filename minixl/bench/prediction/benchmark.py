"""Time prediction on texts of three lengths, minixl against other engines: same weights, same texts, sorted by length for all.

One process times the engines in turn, after comparing their results.  Not timed: reading, tokenising, loading, compiling.  minixl
forms its own batches, as `minixl predict` does; the others get batches of the same number of pieces, padded to the longest text.
"""
from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minixl.bench.checks import require_installed
from minixl.bench.prediction.texts import texts_of
from minixl.bench.prediction.worker import PredictionJob
from minixl.bench.training.benchmark import start, versions
from minixl.bench.training.work import BertWork, Options, Say, padded, pieces
from minixl.bench.training.work_bert import facts_of, find_inputs, make_settings
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.methods import METHODS
from minixl.models.transformer import Transformer
from minixl.run.prepare import prepare
from minixl.weights.folder import read_config

PEERS = ("transformers", "onnxruntime", "openvino")
MODULE = "minixl.bench.prediction.worker"


def peers_of(against: str) -> tuple[str, ...]:
    """Parse --against: names of PEERS with commas between them.  Raises UserError for another, or one that is not installed."""
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in against.split(",")))))
    for name in names:
        if name not in PEERS:
            raise UserError(f"--against {against}: expected {', '.join(PEERS)}, with commas between several, found {name}")
        require_installed(name, name)
    return names


def run(options: Options, peers: Sequence[str], lengths: Sequence[str], count: int, say: Say = lambda text: None) -> dict[str, Any]:
    """Measure everything; return the figures, ready for JSON.  count: word pieces of each length.  Raises UserError."""
    with tempfile.TemporaryDirectory(prefix="minixl-bench-") as scratch:
        work, texts, facts = make_work(options, lengths, count, Path(scratch), say)
    engines = ("minixl", *peers)
    say(f"comparing and timing {', '.join(engines)}")
    measured = start(PredictionJob(engines, work, texts, options.repeats, options.threads), MODULE)
    result: dict[str, Any] = {**facts, "threads": options.threads, "repeats": options.repeats,
                              "versions": versions(engines), "lengths": {}}
    for length, batches in texts.items():
        result["lengths"][length] = figures_of(batches, measured[length])
    return result


def make_work(options: Options, lengths: Sequence[str], count: int, scratch: Path,
              say: Say) -> tuple[BertWork, dict[str, Any], dict[str, Any]]:
    """Read as `minixl train` does; return what every engine gets, the texts by length, and what the report says about both."""
    encoder, source = find_inputs(options, scratch, say)
    most = read_config(encoder).max_pieces
    settings = make_settings(replace(options, max_length=min(options.max_length, most)), {})
    prepared = prepare(METHODS[settings["method"]], settings, Inputs(encoder, [source]), options.seed)
    model, sentences = prepared.model, [sentence.words for sentence in prepared.sources[0].corpus.sentences()]
    assert isinstance(model, Transformer)
    texts = {length: texts_of(sentences, length, prepared.tokenizer, most, count) for length in lengths}
    work = BertWork(encoder=encoder, start={name: model.store[name].value.copy() for name in model.head_names()}, frozen=[],
                    settings=dict(settings), batches={}, predicted={}, seed=options.seed, operations={})
    return work, texts, facts_of(model, settings, encoder, source)


def figures_of(batches: list[Any], measured: dict[str, Any]) -> dict[str, Any]:
    """Add rates to what was measured on texts of one length, and compare minixl with the fastest of the others in float32."""
    tokens = sum(map(pieces, batches))
    engines = {name: {**own, "tokens_per_second": tokens / own["seconds"]} for name, own in measured.items()}
    figures: dict[str, Any] = {"texts": sum(map(len, batches)), "tokens": tokens, "padded_tokens": sum(map(padded, batches)),
                               "engines": engines}
    others = {name: own["seconds"] for name, own in engines.items() if own["float32"] and name != "minixl"}
    if others:
        fastest = min(others, key=others.__getitem__)
        figures |= {"fastest": fastest, "ratio": others[fastest] / engines["minixl"]["seconds"]}
    return figures
