"""The benchmark of the language-adversarial iteration: both engines do the same three updates; the parts add up to the whole."""
from dataclasses import replace

import numpy as np
import pytest

from minixl.bench.training import minixl_adversarial, transformers_adversarial, worker
from minixl.bench.training.benchmark import run
from minixl.bench.training.products import step_operations
from minixl.bench.training.report_parts import lines_of, sums_of
from minixl.bench.training.work import Options, padded, pieces
from minixl.bench.training.work_adversarial import make_work
from minixl.data.batching import pack
from minixl.errors import UserError
from minixl.methods.adversary import Adversary
from minixl.methods.finetune import Supervised
from minixl.weights.folder import read_config
from tests.bench.training.inputs import write_encoder, write_sentences
from tests.bench.training.worker_process import imported_by
from tests.mutants import mutant

LEVELS = ("sentence", "token")
# settings that make each of them matter: with a small eps Adam does not see the scale of a gradient
STRONG = {"model.dropout": 0.0, "optim.lr": 1e-2, "optim.head_lr": 5e-2, "optim.weight_decay": 1.0, "optim.clip": 0.5,
          "optim.eps": 0.1, "adversary.lr": 2e-2, "adversary.weight_decay": 1.0, "adversary.discriminator_lr": 0.3}


@pytest.fixture
def options(tmp_path):
    return Options(encoder=write_encoder(tmp_path / "encoder"), source=("en", write_sentences(tmp_path / "en.txt")),
                   target=("es", write_sentences(tmp_path / "es.txt", 20)), family="bert-adversarial", batch_size=4, steps=3,
                   repeats=1, max_length=32, freeze=("bottom:1",), threads=1)


@pytest.fixture
def work(options, tmp_path):
    return make_work(options, tmp_path, lambda text: None)[0]


def strong(options, tmp_path, level):
    work = make_work(replace(options, level=level), tmp_path, lambda text: None)[0]
    return replace(work, settings={**work.settings, **STRONG})


def parameters(theirs):
    """The parameters of PyTorch's model by minixl's names."""
    named = dict(theirs.model.named_parameters())
    named |= {f"discriminator.{name.removeprefix('unit.')}": p for name, p in theirs.discriminator.named_parameters()}
    return {name: p.detach().numpy() for name, p in named.items()}


def assert_iterations_agree(work, module):
    """Compare three iterations of each kind of batches: the losses, and every parameter at the end."""
    engines = [minixl_adversarial.MinixlAdversarial(work, 1), module.TransformersAdversarial(work, 1)]
    before = parameters(engines[1])
    before = {name: value.copy() for name, value in before.items()}
    for iteration in [*work.batches["random"], *work.batches["grouped"]]:
        ours, theirs = (engine.step(engine.prepare(iteration)) for engine in engines)
        assert list(ours) == list(theirs) == ["task", "discriminator", "generator"]
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=2e-5)
    for name, expected in parameters(engines[1]).items():
        value = engines[0].model.store[name].value
        np.testing.assert_allclose(value, expected, rtol=0, atol=2e-5, err_msg=name)
        assert (value == before[name]).all() == (name in work.frozen), name


@pytest.mark.parametrize("level", LEVELS)
def test_iterations_without_dropout_agree(options, tmp_path, level):
    assert_iterations_agree(strong(options, tmp_path, level), transformers_adversarial)


MISTAKES = [
    ("the discriminator learns in G", "self.discriminator.requires_grad_(False)", "pass"),
    ("the discriminator stays frozen", "self.discriminator.requires_grad_(True)", "pass"),
    ("labels not exchanged", "(0.0, 1.0) if flipped else", "(1.0, 0.0) if flipped else"),
    ("padding is judged", "states[mask.bool()]", "states.flatten(0, 1)"),
    ("the mean takes in padding", "mask.sum(1, keepdim=True)", "mask.shape[1]"),
    ("rates exchanged", '"lr": settings["adversary.lr"]', '"lr": settings["adversary.discriminator_lr"]'),
    ("no decay in G", 'settings["adversary.weight_decay"]}', "0.0}"),
    ("G reads the batches of D", '_encode(prepared, "generator")', '_encode(prepared, "discriminator")'),
    ("one mean over both languages", "return losses[0] + losses[1]", "return (losses[0] + losses[1]) / 2"),
    ("one optimiser", "                           self.optimizer_g", "                           self.optimizer"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(options, tmp_path, what, old, new):
    changed = mutant("minixl.bench.training.transformers_adversarial", old, new)
    for level in LEVELS:
        try:
            assert_iterations_agree(strong(options, tmp_path, level), changed)
        except (AssertionError, RuntimeError):
            return
    pytest.fail(f"no comparison notices: {what}")


@pytest.mark.parametrize("level", LEVELS)
def test_losses_before_the_first_update_agree(options, tmp_path, level):
    """The losses do not use the dropout of the encoder's configuration, and computing them leaves nothing behind."""
    work = make_work(replace(options, level=level), tmp_path, lambda text: None)[0]
    engines = [engine(work, 1) for engine in (minixl_adversarial.MinixlAdversarial,
                                              transformers_adversarial.TransformersAdversarial)]
    iterations = [engine.prepare(work.batches["random"][0]) for engine in engines]
    losses = [engine.loss(iteration) for engine, iteration in zip(engines, iterations, strict=True)]
    worker.check_equal(dict(enumerate(losses)))
    for engine, iteration, loss in zip(engines, iterations, losses, strict=True):
        assert engine.loss(iteration) == loss
        assert all(abs(value - loss[name]) > 1e-6 for name, value in engine.step(iteration).items()), "dropout is off"
    losses[1]["generator"] *= 1.0001
    with pytest.raises(UserError, match="do not compute the same loss of the generator on the first batch"):
        worker.check_equal(dict(enumerate(losses)))


def assert_parts_are_the_whole(work, module):
    """T, D and G by their parts change every parameter as a whole iteration does."""
    whole, apart = (module.MinixlAdversarial(work, 1) for _ in range(2))
    for iteration in work.batches["random"]:
        whole.step(whole.prepare(iteration))
        seconds = apart.parts(apart.prepare(iteration))
    assert {loss: list(parts) for loss, parts in seconds.items()} == {
        "task": ["encoder", "head", "head backward", "encoder backward", "update"],
        "discriminator": ["encoder", "head", "head backward", "update"],
        "generator": ["encoder", "head", "head backward", "encoder backward", "update"]}
    assert all(second > 0 for parts in seconds.values() for second in parts.values())
    for parameter in whole.model.store:
        np.testing.assert_allclose(apart.model.store[parameter.name].value, parameter.value, rtol=0, atol=1e-6,
                                   err_msg=parameter.name)


@pytest.mark.parametrize("level", LEVELS)
def test_the_parts_are_the_whole(options, tmp_path, level):
    assert_parts_are_the_whole(strong(options, tmp_path, level), minixl_adversarial)


@pytest.mark.parametrize("old, new", [("flipped=generator", "flipped=False"), ("if generator:", "if False:"),
                                      ("model.store.accumulate(\"\", grads)", "pass"),
                                      ("accumulate(\"discriminator\", grads)", "zero_grad()")])
def test_a_part_left_out_is_caught(options, tmp_path, old, new):
    with pytest.raises(AssertionError):
        assert_parts_are_the_whole(strong(options, tmp_path, "token"), mutant("minixl.bench.training.minixl_adversarial", old, new))


def test_an_iteration_has_five_different_batches(work):
    iterations = work.batches["random"]
    assert len(iterations) == 3 and all(list(iteration) == list(Supervised.STREAMS | Adversary.STREAMS) for iteration in iterations)
    dealt = {name: [example.source for iteration in iterations for example in iteration[name]] for name in iterations[0]}
    assert all(len(set(numbers)) == len(numbers) == 12 for numbers in dealt.values())
    assert len({tuple(numbers) for numbers in dealt.values()}) == 5
    read = work.read("random")
    assert len(read) == 15 and sum(map(pieces, read)) == sum(pack(batch).tokens for batch in read)
    theirs = transformers_adversarial.TransformersAdversarial(work, 1)
    assert sum(map(padded, read)) == sum(batch.labels.numel() for iteration in iterations
                                         for batch in theirs.prepare(iteration).values())
    assert work.only("random").batches.keys() == {"random"}


def test_the_discriminators_update_only_runs_the_encoder_forward(options, tmp_path):
    work = make_work(replace(options, freeze=(), steps=1), tmp_path, lambda text: None)[0]
    config = read_config(work.encoder)
    forward = {name: step_operations(config, [len(e.input_ids) for e in batch], config.num_hidden_layers)
               for name, batch in work.batches["random"][0].items()}
    expected = sum(count * (1 if name.endswith("discriminator") else 3) for name, count in forward.items())
    assert work.operations["random"] == expected


def test_worker_times_iteration_and_parts(work):
    job = worker.WorkerJob("time", "bert-adversarial", ("minixl", "transformers"), work, "random", 2, 1)
    result = worker.run(job)
    assert result["operations_per_second"] > 0
    for figures in result["engines"].values():
        assert len(figures["batch_seconds"]) == 3 and min(figures["batch_seconds"]) > 0
        assert "predict_seconds" not in figures and set(figures["loss"]) == {"task", "discriminator", "generator"}
    parts = result["engines"]["minixl"]["parts"]
    assert list(parts) == ["task", "discriminator", "generator"] and "parts" not in result["engines"]["transformers"]


def test_parts_are_means_of_medians_and_add_up():
    repeats = [[{"task": {"encoder": a, "update": 1.0}} for a in (1.0, 9.0, 2.0)],
               [{"task": {"encoder": a, "update": 3.0}} for a in (4.0, 4.0, 0.0)]]
    parts = worker.mean_of(repeats)
    assert parts == {"task": {"encoder": 3.0, "update": 2.0}}
    figures = {"parts": parts, **sums_of(parts, 6.0)}
    assert figures["parts_seconds"] == 5.0 and figures["step_to_parts"] == pytest.approx(1.2)
    assert figures["passes_seconds"] == 3.0 and figures["step_to_passes"] == 2.0
    head, task, summary = lines_of(figures)
    assert head.split()[:3] == ["parts,", "s", "encoder"] and task.split() == ["T", "3.0000", "-", "-", "-", "2.0000"]
    assert summary == ("an iteration takes 1.20 times as long as all its parts alone, 5.000 s, and 2.00 times as long as its "
                       "forwards and backwards alone, 3.000 s")


def test_memory_of_pytorch_is_measured_without_minixls_engine(work, tmp_path):
    job = worker.WorkerJob("peak", "bert-adversarial", ("transformers",), work, "random", 1, 1)
    assert imported_by(job, tmp_path / "job") == ["True", "False"]


def test_the_sample_corpus_is_the_default_for_both_languages(options, tmp_path):
    work, facts = make_work(replace(options, source=None, target=None, limit=12), tmp_path, lambda text: None)
    assert facts["source"].endswith("ner/en/train.txt") and facts["target"].endswith("ner/es/train.txt")
    assert len(work.batches["random"]) == 3 and facts["level"] == "token" and "on every token" in facts["model"]


def test_mistakes_are_named(options, tmp_path):
    few = replace(options, target=("es", write_sentences(tmp_path / "few.txt", 3)))
    with pytest.raises(UserError, match="few.txt: expected at least 4 sentences for one batch, found 3; choose a smaller"):
        make_work(few, tmp_path, lambda text: None)
    with pytest.raises(UserError, match="^--target en=.*es.txt: expected text in a language other than en, the language"):
        make_work(replace(options, target=("en", options.target[1])), tmp_path, lambda text: None)
    with pytest.raises(UserError, match="^--target: --model bert reads one language; leave --target out, or choose --model bert-"):
        run(replace(options, family="bert"))
    with pytest.raises(UserError, match="^--level: --model bilstm-crf has no language discriminator"):
        run(Options(family="bilstm-crf", level="token"))
