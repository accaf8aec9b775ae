"""The benchmark of BERT: both engines do the same work, and memory is that of the right process."""
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from minixl.bench.training import benchmark, worker
from minixl.bench.training.minixl_bert import MinixlBert
from minixl.bench.training.report import counted, table
from minixl.bench.training.transformers_bert import TransformersBert
from minixl.bench.training.work import Options
from minixl.bench.training.work_bert import find_inputs, make_work
from minixl.errors import UserError
from tests.bench.training.inputs import write_encoder, write_sentences
from tests.tiny import write_ner, write_xlm_r


@pytest.fixture
def options(tmp_path):
    encoder, source = write_encoder(tmp_path / "encoder"), write_sentences(tmp_path / "en.txt")
    return Options(encoder=encoder, source=("en", source), batch_size=4, steps=3, repeats=1, max_length=32,
                   freeze=("bottom:1",), threads=1)


@pytest.fixture
def work(options, tmp_path):
    return make_work(options, tmp_path, lambda text: None)[0]


@pytest.fixture
def xlm_r_work(tmp_path):
    """The work with a tiny XLM-R."""
    encoder, source = write_xlm_r(tmp_path / "encoder"), write_ner(tmp_path / "en.txt", "en", repeat=3)
    options = Options(encoder=encoder, source=("en", source), batch_size=4, steps=3, repeats=1, max_length=32,
                      freeze=("bottom:1",), threads=1)
    return make_work(options, tmp_path, lambda text: None)[0]


def without_dropout(work):
    return replace(work, settings={**work.settings, "model.dropout": 0.0})


@pytest.mark.parametrize("name", ["work", "xlm_r_work"])
def test_training_steps_without_dropout_agree(name, request):
    """The losses agree, with the same weights, batches, learning rates, weight decay, clipping and frozen parameters.

    The settings make each of these matter: with a small eps Adam does not see the scale of a gradient.
    """
    strong = {"optim.lr": 1e-2, "optim.head_lr": 5e-2, "optim.weight_decay": 1.0, "optim.clip": 0.5, "optim.eps": 0.1}
    work = without_dropout(request.getfixturevalue(name))
    work = replace(work, settings={**work.settings, **strong})
    engines = [MinixlBert(work, 1), TransformersBert(work, 1)]
    batches = [batch for setting in ("random", "grouped") for batch in work.batches[setting]]
    before = [engine.loss(engine.prepare(batches[0])) for engine in engines]
    losses = np.array([[engine.step(engine.prepare(batch)) for batch in batches] for engine in engines])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)
    np.testing.assert_allclose(losses[:, 0], before, rtol=1e-6)
    after = [engine.loss(engine.prepare(batches[0])) for engine in engines]
    assert abs(after[0] - before[0]) > 1e-3, "nothing was learned, so the steps were not compared"
    frozen = dict(engines[1].model.named_parameters())
    assert {name.replace("roberta.", "bert.", 1) for name, p in frozen.items() if not p.requires_grad} == set(work.frozen)
    assert all(name.startswith(("bert.embeddings.", "bert.encoder.layer.0.")) for name in work.frozen)


def test_dropout_is_on_in_a_step(work):
    for contender in (MinixlBert, TransformersBert):
        engine = contender(work, 1)
        batch = engine.prepare(work.batches["random"][0])
        assert abs(engine.step(batch) - engine.loss(batch)) > 1e-6


def test_predictions_agree_for_every_sentence(work):
    batches = work.batches["random"]
    ours, theirs = (contender(work, 1).predict(batches) for contender in (MinixlBert, TransformersBert))
    assert len(ours) == len(theirs) == sum(len(batch) for batch in batches)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_on_a_gpu_the_engine_does_the_same(work, cuda):
    """On the stand-in, where PyTorch has no device: the losses are those on the CPU."""
    on_cpu, on_gpu = MinixlBert(without_dropout(work), 1), MinixlBert(replace(without_dropout(work), device="cuda"), 1)
    for batch in work.batches["random"]:
        np.testing.assert_allclose(on_gpu.step(on_gpu.prepare(batch)), on_cpu.step(on_cpu.prepare(batch)), rtol=1e-4)
    for ours, theirs in zip(on_gpu.predict(work.predicted["random"]), on_cpu.predict(work.predicted["random"]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    job = worker.WorkerJob("time", "bert", ("minixl",), replace(work, device="cuda"), "grouped", 1, 1)
    assert "operations_per_second" not in worker.run(job)


def test_other_families_are_measured_on_a_cpu(options):
    with pytest.raises(UserError, match="^--device cuda: --model bilstm-crf is measured on a CPU only"):
        benchmark.run(replace(options, family="bilstm-crf", device="cuda"))


def test_different_losses_are_rejected():
    worker.check_equal({"minixl": 1.000005, "transformers": 1.0})
    with pytest.raises(UserError, match="do not compute the same loss.*minixl 1.000020, transformers 1.000000"):
        worker.check_equal({"minixl": 1.00002, "transformers": 1.0})


def test_worker_times_engines_in_turn(work):
    job = worker.WorkerJob("time", "bert", ("minixl", "transformers"), work, "grouped", 2, 1)
    result = worker.run(job)
    for engine in job.engines:
        assert len(result["engines"][engine]["batch_seconds"]) == len(work.batches["grouped"])
        assert min(result["engines"][engine]["batch_seconds"]) > 0 < result["engines"][engine]["predict_seconds"]
    assert result["operations_per_second"] > 0


def test_peak_memory_is_that_of_the_process_itself():
    """A child of a large process starts from zero, although getrusage starts from its parent's size."""
    ballast = np.ones(60 << 20, np.float64)                            # 480 MiB here
    code = ("import numpy as np; from minixl.training.memory import peak_memory; before = peak_memory(); "
            "x = np.ones(16 << 20); print(before, peak_memory())")
    before, after = map(int, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                            check=True).stdout.split())
    assert before < 300 << 20 < ballast.nbytes
    assert 120 << 20 < after - before < 160 << 20


def test_memory_of_another_engine_is_measured_without_minixls_engine():
    code = "import sys, minixl.bench.training.worker; print([m for m in sys.modules if m in ('minixl.backend', 'torch')])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ratios_follow_from_the_figures():
    ours = {"step_seconds": 1.0, "predict_tokens_per_second": 300.0, "peak_memory_bytes": 60}
    theirs = {"step_seconds": 2.5, "predict_tokens_per_second": 100.0, "peak_memory_bytes": 100}
    assert benchmark.compare(ours, theirs) == {"train": 2.5, "predict": 3.0, "peak_memory": 0.6}
    ours["decode_tokens_per_second"], theirs["decode_tokens_per_second"] = 900.0, 20.0
    assert benchmark.compare(ours, theirs)["decode"] == 45.0


def test_table_without_another_engine_has_no_ratio():
    figures = {"step_seconds": 0.5, "alone_step_seconds": 0.6, "train_tokens_per_second": 100.0,
               "predict_tokens_per_second": 200.0, "peak_memory_bytes": 3 << 20}
    setting = {"batches": 2, "tokens": 100, "padded_tokens": 200, "engines": {"minixl": figures},
               "products": {"operations_per_second": 2e9, "operations_per_step": 5e8, "seconds": 0.25,
                            "share_of_step": 0.5}}
    text = table({"family": "bert", "model": "1 layers, 2 wide", "trained": 1e6, "weights": 2e6, "encoder": "E",
                  "optimizer": "adamw", "device": "cpu", "threads": 2, "batch_size": 4, "repeats": 3, "versions": {"minixl": "0"},
                  "settings": {"random": setting}})
    assert "bert: 1 layers, 2 wide, 1.0 of 2.0 M weights trained; E" in text and "clip, AdamW, zero" in text
    assert "decode" not in text and "tokens: word pieces without padding" in text
    assert "minixl is" not in text and "50% of a padded batch" in text
    assert "2 GFLOP/s at these shapes; the 0.5 GFLOP of a step need 0.250 s, 50% of minixl's" in text
    assert "minixl             0.500     0.600        100               200         3" in text
    assert "2 threads, batches of 4 sentences, each timed 3 times; " in text and ": 2 batches, 100 tokens; " in text


def test_one_of_a_thing_is_no_plural():
    assert [counted(1, "batch", "es"), counted(2, "batch", "es"), counted(1, "time")] == ["1 batch", "2 batches", "1 time"]


@pytest.mark.parametrize(("code", "reason"), [(-9, "perhaps for lack of memory"), (1, "exit code 1")])
def test_a_failed_process_is_reported_in_one_line(monkeypatch, work, code, reason):
    monkeypatch.setattr(benchmark.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, code, b""))
    with pytest.raises(UserError, match=f"measuring minixl failed: .*{reason}"):
        benchmark.start(worker.WorkerJob("peak", "bert", ("minixl",), work, "random", 1, 1))


def test_an_error_in_the_process_is_reported(work):
    broken = replace(work, encoder=work.encoder / "gone")
    with pytest.raises(UserError, match="gone: no such folder"):
        benchmark.start(worker.WorkerJob("peak", "bert", ("minixl",), broken, "random", 1, 1))


def test_too_few_sentences_for_a_batch(options, tmp_path):
    with pytest.raises(UserError, match="en.txt: expected at least 99 sentences for one batch, found 24; choose a smaller"):
        make_work(replace(options, batch_size=99), tmp_path, lambda text: None)


def test_the_sample_corpus_is_the_default_source(options, tmp_path):
    encoder, (language, path) = find_inputs(replace(options, source=None), tmp_path, lambda text: None)
    assert encoder == options.encoder and language == "en" and path.is_file()
