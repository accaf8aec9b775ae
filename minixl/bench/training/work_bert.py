"""The work of the family bert: sentences in word pieces, initial parameters of the head, frozen names."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minixl.bench.training.products import step_operations
from minixl.bench.training.work import BertWork, Examples, Options, Say, check_enough, choose_batches
from minixl.data.inputs import Inputs
from minixl.data.sample import LANGUAGES, write_sample
from minixl.methods import METHODS, SCHEMA
from minixl.models.transformer import Transformer
from minixl.run.prepare import prepare
from minixl.run.prepared import examples_of
from minixl.settings import Settings

FREEZE = ("bottom:3",)


def make_work(options: Options, scratch: Path, say: Say) -> tuple[BertWork, dict[str, Any]]:
    """Read, check and tokenise as `minixl train` does; choose the batches."""
    encoder, source = find_inputs(options, scratch, say)
    settings = make_settings(options, {"optim.lr": 1e-4, "optim.head_lr": 2e-3})
    prepared = prepare(METHODS[settings["method"]], settings, Inputs(encoder, [source]), options.seed)
    model, examples = prepared.model, examples_of(prepared.sources)
    assert isinstance(model, Transformer)
    check_enough(examples, options, source[1])
    batches = {kind: choose_batches(examples, kind, batch_size=options.batch_size, count=options.steps, seed=options.seed)
               for kind in options.batch_kinds}
    lowest = model.bert.lowest_trainable()
    work = BertWork(encoder=encoder, start={name: model.store[name].value.copy() for name in model.head_names()},
                    frozen=model.store.names(trainable=False), settings=dict(settings), batches=batches,
                    predicted=batches, seed=options.seed, device=options.device,
                    operations={kind: operations(of_kind, model.config, lowest) for kind, of_kind in batches.items()})
    return work, facts_of(model, settings, encoder, source)


def make_settings(options: Options, values: dict[str, Any]) -> Settings:
    """Combine `values` with the options; the learning rate is constant."""
    return SCHEMA.settings({"task": "ner", "data.max_length": options.max_length, "data.limit": options.limit,
                            "train.batch_size": options.batch_size, "optim.schedule": "constant", "optim.warmup": 0.0,
                            "model.freeze": list(FREEZE if options.freeze is None else options.freeze), **values})


def facts_of(model: Transformer, settings: Settings, encoder: Path, source: tuple[str, Path]) -> dict[str, Any]:
    """Return what the report says about the model and the files."""
    layers, hidden = model.config.num_hidden_layers, model.config.hidden_size
    return {"model": f"{layers} layers, {hidden} wide", "frozen": settings["model.freeze"], "weights": model.store.count(),
            "trained": model.store.count(trainable=True), "source": str(source[1]), "encoder": str(encoder), "layers": layers,
            "hidden": hidden}


def operations(batches: Sequence[Examples], config: Any, lowest: int) -> float:
    """Count the operations of a step's matrix products, mean over the batches."""
    return sum(step_operations(config, [len(e.input_ids) for e in batch], lowest) for batch in batches) / len(batches)


def find_inputs(options: Options, scratch: Path, say: Say) -> tuple[Path, tuple[str, Path]]:
    """Return encoder and labelled file.  Defaults: without --encoder the quickstart's, with it the sample corpus."""
    if options.encoder is None:
        from minixl.run.quickstart import quickstart_inputs
        inputs = quickstart_inputs(say)
        assert inputs.encoder is not None
        return inputs.encoder, options.source or inputs.source[0]
    return options.encoder, options.source or sample_file(scratch, LANGUAGES[0])


def sample_file(scratch: Path, language: str) -> tuple[str, Path]:
    """Write the sample corpus; return a language and its training file."""
    write_sample(scratch / "sample")
    return language, scratch / "sample" / "ner" / language / "train.txt"
