"""The benchmark of the BiLSTM-CRF: both engines do the same work, from words to tags and from emissions to tags."""
import pickle
from dataclasses import replace

import numpy as np
import pytest

from minixl.bench.training import worker
from minixl.bench.training.minixl_bilstm_crf import MinixlBilstmCrf
from minixl.bench.training.torch_bilstm_crf import TorchBilstmCrf
from minixl.bench.training.work import Options, padded
from minixl.bench.training.work_bilstm_crf import make_work
from minixl.errors import UserError
from tests.bench.training.inputs import write_sentences
from tests.bench.training.worker_process import imported_by

ENGINES = {"minixl": MinixlBilstmCrf, "torch": TorchBilstmCrf}


@pytest.fixture
def options(tmp_path):
    return Options(source=("en", write_sentences(tmp_path / "en.txt")), family="bilstm-crf", batch_size=4, steps=3, repeats=1,
                   threads=1)


@pytest.fixture
def work(options, tmp_path):
    return make_work(options, tmp_path, lambda text: None)[0]


def engines(work):
    return [engine(work, 1) for engine in ENGINES.values()]


def with_random_parameters(work, rng):
    """Return the work with random parameters, which all matter and leave no two paths with equal scores."""
    return replace(work, start={name: (value + rng.normal(0, 0.5, value.shape)).astype(np.float32)
                                for name, value in work.start.items()})


def test_training_steps_without_dropout_agree(work, rng):
    """The losses agree, with a frozen parameter and with gradients that are clipped."""
    config = replace(work.config, dropout=0.0, word_unknown=0.0)
    work = replace(with_random_parameters(work, rng), config=config, settings={**work.settings, "optim.clip": 0.5},
                   frozen=["char_lstm.weight_ih_l0"])
    both = engines(work)
    batches = [batch for setting in ("random", "grouped") for batch in work.batches[setting]]
    losses = np.array([[engine.step(engine.prepare(batch)) for batch in batches] for engine in both])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)
    for name, start in work.start.items():
        ours = both[0].model.store[name].value
        np.testing.assert_allclose(ours, both[1].model.get_parameter(name).detach(), atol=1e-5, err_msg=name)
        assert np.array_equal(ours, start) == (name in work.frozen), name


@pytest.mark.parametrize(("dropout", "unknown"), [(0.5, 0.0), (0.0, 0.5)], ids=["dropout", "unknown words"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_is_random(work, engine, dropout, unknown):
    singletons = np.arange(1, work.config.vocabulary_size)             # so that some are in the batch
    lexicon = pickle.loads(work.lexicon)
    lexicon.singletons = singletons
    work = replace(work, config=replace(work.config, dropout=dropout, word_unknown=unknown), lexicon=pickle.dumps(lexicon),
                   words=work.words._replace(singletons=singletons))
    contender = ENGINES[engine](work, 1)
    batch = contender.prepare(work.batches["random"][0])
    before = contender.loss(batch)
    assert contender.loss(batch) == before
    assert abs(contender.step(batch) - before) > 1e-5


def test_emissions_tags_and_searches_agree(work, rng):
    work = with_random_parameters(work, rng)
    batches = [*work.predicted["random"], work.predicted["random"][0][:1]]
    ours, theirs = engines(work)
    emissions = ours.emissions(batches)
    assert len(emissions) == sum(len(batch) for batch in batches) == 25
    for a, b in zip(emissions, theirs.emissions(batches), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    tags = [engine.decode(engine.hold(emissions, [4] * 6 + [1])) for engine in (ours, theirs)]
    for engine_tags in (*tags, ours.predict(batches), theirs.predict(batches)):
        for a, b in zip(tags[0], engine_tags, strict=True):
            np.testing.assert_array_equal(a, b)
    greedy = np.concatenate([scores.argmax(-1) for scores in emissions])
    assert (np.concatenate(tags[0]) != greedy).any(), "the transitions made no difference, so the search was not compared"


def test_worker_also_times_the_search(work):
    result = worker.run(worker.WorkerJob("time", "bilstm-crf", tuple(ENGINES), work, "grouped", 2, 1))
    for figures in result["engines"].values():
        assert len(figures["batch_seconds"]) == 3 and figures["decode_seconds"] > 0 < figures["predict_seconds"]
    words = sum(len(example.input_ids) for batch in work.predicted["grouped"] for example in batch)
    assert result["tags"]["words"] == words and set(result) == {"engines", "tags"}


def test_different_tags_are_rejected():
    tags = {"minixl": np.zeros(1000), "torch": np.zeros(1000)}
    tags["torch"][3] = 1
    assert worker.differing(tags, "from this") == 1
    tags["torch"][4] = 1
    with pytest.raises(UserError, match="not find the same tags from this: minixl and torch differ at 2 of 1000 words"):
        worker.differing(tags, "from this")


def test_memory_of_pytorch_is_measured_without_minixls_engine(work, tmp_path):
    job = worker.WorkerJob("peak", "bilstm-crf", ("torch",), work, "random", 1, 1)
    assert imported_by(job, tmp_path / "job") == ["True", "False"]


def test_batches_are_those_of_the_data(options, tmp_path):
    source = "en", write_sentences(tmp_path / "more.txt", 81)
    work, _ = make_work(replace(options, source=source), tmp_path, lambda text: None)
    assert len(work.batches["random"]) == 3 and len(work.predicted["random"]) == 20
    assert work.labels == ["O", *(f"{letter}-{kind}" for kind in ("LOC", "PER") for letter in "BIES")]
    assert sum(map(padded, work.predicted["grouped"])) < sum(map(padded, work.predicted["random"]))
    for example in (example for batch in work.predicted["random"] for example in batch):
        assert len(example.labels) == len(example.input_ids) == len(example.rows)


def test_an_encoder_is_rejected(options, tmp_path):
    with pytest.raises(UserError, match="--encoder E: a bilstm-crf model has no encoder; leave it out, or choose --model bert"):
        make_work(replace(options, encoder="E"), tmp_path, lambda text: None)


def test_the_sample_corpus_is_the_default_source(options, tmp_path):
    work, facts = make_work(replace(options, source=None, limit=40, freeze=("word_embeddings.*",)), tmp_path, lambda text: None)
    assert facts["source"].endswith("ner/en/train.txt") and len(work.predicted["random"]) == 10
    assert work.frozen == ["word_embeddings.weight"] and facts["trained"] < facts["weights"]
