"""The benchmark of the language model: both engines make the same steps."""
from dataclasses import replace

import numpy as np
import pytest

from minixl.bench.training import benchmark, worker, work_language_model
from minixl.bench.training.minixl_language_model import MinixlLanguageModel
from minixl.bench.training.torch_language_model import PARTS, TorchLanguageModel
from minixl.bench.training.work import Options
from minixl.bench.training.work_language_model import make_work
from minixl.errors import UserError
from tests.bench.training.inputs import write_sentences
from tests.bench.training.worker_process import imported_by

ENGINES = {"minixl": MinixlLanguageModel, "torch": TorchLanguageModel}


@pytest.fixture
def options(tmp_path):
    return Options(source=("en", write_sentences(tmp_path / "en.txt")), target=("es", write_sentences(tmp_path / "es.txt", 20)),
                   family="language-model", batch_size=4, steps=3, repeats=1, threads=1)


@pytest.fixture
def work(options, tmp_path, monkeypatch):
    """A small model, whose vocabulary is sampled."""
    recipe = work_language_model.SCHEMA.recipe("mlma-cpu").override(
        ["language_model.hidden=12", "language_model.heads=2", "language_model.intermediate=20", "language_model.vocabulary=1300",
         "language_model.samples=40", "language_model.layers=2"])
    monkeypatch.setattr(type(work_language_model.SCHEMA), "recipe", lambda self, name: recipe)
    return make_work(options, tmp_path, lambda text: None)[0]


def parameters_of(model, names) -> dict[str, np.ndarray]:
    """The parameters of the module in PyTorch under minixl's names."""
    found = {f"words.{language}.weight": table.weight for language, table in model.words.items()}
    for direction, stack in zip(("forward", "backward"), model.stacks, strict=True):
        for kind in ("weight", "bias"):
            found[f"{direction}.LayerNorm.{kind}"] = getattr(stack.norm, kind)
            for i, block in enumerate(stack.blocks):
                prefix = f"{direction}.layer.{i}"
                parts = getattr(block.self_attn, f"in_proj_{kind}").chunk(3)
                found |= {f"{prefix}.attention.{name}.{kind}": part for name, part in
                          zip(("query", "key", "value"), parts, strict=True)}
                found |= {f"{prefix}.{ours}.{kind}": getattr(block.get_submodule(theirs), kind) for theirs, ours in PARTS.items()}
    assert set(found) == set(names)
    return {name: value.detach().numpy() for name, value in found.items()}


def test_training_steps_without_dropout_agree(work, monkeypatch):
    """Losses and parameters, with the candidates of step 0 in every step."""
    work = replace(work, config=replace(work.config, dropout=0.0))
    ours, theirs = (engine(work, 1) for engine in ENGINES.values())
    first = ours.objective.candidates
    monkeypatch.setattr(ours.objective, "candidates", lambda language, direction, step: first(language, direction, 0))
    batches = work.batches["random"]
    losses = np.array([[engine.step(engine.prepare(batch)) for batch in batches] for engine in (ours, theirs)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    expected = parameters_of(theirs.model, work.start)
    for name, start in work.start.items():
        value = ours.model.store[name].value
        assert not np.array_equal(value, start) or "key.bias" in name, name
        if "key.bias" not in name:                                     # Adam makes rounding as large as a gradient
            np.testing.assert_allclose(value, expected[name], atol=2e-4, err_msg=name)


def test_losses_agree_and_steps_are_random(work):
    batch = work.batches["grouped"][0]
    losses = []
    for engine in ENGINES.values():
        contender = engine(work, 1)
        prepared = contender.prepare(batch)
        losses.append(contender.loss(prepared))
        assert contender.loss(prepared) == pytest.approx(losses[-1], rel=1e-6)
        assert abs(contender.step(prepared) - losses[-1]) > 1e-4
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_worker_times_both(work):
    result = worker.run(worker.WorkerJob("time", "language-model", tuple(ENGINES), work, "grouped", 2, 1))
    assert set(result) == {"engines"} and all(len(figures["batch_seconds"]) == 3 for figures in result["engines"].values())


def test_memory_of_pytorch_is_measured_without_minixls_engine(work, tmp_path):
    job = worker.WorkerJob("peak", "language-model", ("torch",), work, "random", 1, 1)
    assert imported_by(job, tmp_path / "job") == ["True", "False"]


def test_options_that_do_not_fit(options, tmp_path):
    for change, message in (({"encoder": "E"}, "^--encoder: the language model is trained from nothing"),
                            ({"freeze": ("x",)}, "^--freeze: the language model is trained from nothing"),
                            ({"target": options.source}, "^--target en=.*: expected text in a language other than en")):
        with pytest.raises(UserError, match=message):
            make_work(replace(options, **change), tmp_path, lambda text: None)
    with pytest.raises(UserError, match="^--target: --model bilstm-crf reads one language; leave --target out"):
        benchmark.run(replace(options, family="bilstm-crf"))
    with pytest.raises(UserError, match="^--level: --model language-model has no language discriminator"):
        benchmark.run(replace(options, level="token"))
