"""Whole runs on a tiny encoder: what a run folder holds, resume, seeds, selection, and a user's mistakes."""
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minixl.run.job
from minixl.blas import using_threads
from minixl.data.corpus import read_corpus
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.evaluation.scores import score
from minixl.methods import SCHEMA, train
from minixl.prediction import Predictor
from minixl.run.folder import locked
from minixl.run.seeds import summarise
from minixl.training.config import read_config
from minixl.training.progress import Stopped
from tests.tiny import write_ner
from tests.whole_runs import Quiet, assert_same_run, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), repeat=3)


def ner_inputs(folder):
    en, es = ("en", folder / "en.txt"), ("es", folder / "es.txt")
    return Inputs(folder / "encoder", source=[en], dev=[en, es], test=[en, es])


def settings(**changes):
    base = {"task": "ner", "train.epochs": 3, "train.batch_size": 4, "optim.lr": 1e-3, "optim.head_lr": 1e-2,
            "train.eval_every": 4, "data.max_length": 32}
    return SCHEMA.settings({**base, **{name.replace("__", "."): value for name, value in changes.items()}})


def run(folder, out, **how):
    how = {"seed": 3, "reporter": Quiet(), **how}
    return train(how.pop("settings", settings()), how.pop("inputs", ner_inputs(folder)), out, **how)


def arrays(out):
    return load_file(out / "model" / "model.safetensors")


def without_times(path):
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in path.read_text().splitlines()]


def test_leaves_a_whole_run_folder(folder, tmp_path):
    metrics = run(folder, tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        ".lock", "config.toml", "inputs.json", "log.jsonl", "metrics.json", "model", "predictions", "curves.csv",
        "report.html"}
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    assert metrics["steps"] == 15 and metrics["task"] == "ner" and metrics["seed"] == 3
    assert set(metrics["test"]) == {"en", "es"} and set(metrics["oracle"]) == {"es"}
    assert metrics["test"]["en"]["f1"] > 0.7                    # a random encoder learns eighteen sentences by heart
    updates = [r for r in without_times(tmp_path / "run" / "log.jsonl") if r["kind"] == "update"]
    assert [u["step"] for u in updates] == list(range(15))
    assert "<svg" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("stop_after", [1, 4, 6, 14])
def test_resume_is_bit_equal(folder, tmp_path, stop_after):
    whole = run(folder, tmp_path / "whole")
    steps = iter(range(1, 100))
    with pytest.raises(Stopped):
        run(folder, tmp_path / "parts", stop=lambda: next(steps) >= stop_after)
    parts = run(folder, tmp_path / "parts", resume=True)
    for name, value in arrays(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, arrays(tmp_path / "parts")[name], err_msg=name)
    for part in ("test", "last", "oracle", "steps", "selected_step"):
        assert whole[part] == parts[part], part
    assert without_times(tmp_path / "whole" / "log.jsonl") == without_times(tmp_path / "parts" / "log.jsonl")


def test_a_run_with_workers_continues_on_another_number_of_threads(folder, tmp_path):
    chosen, steps = settings(train__workers=2, model__dropout=0.3, train__epochs=2), iter(range(1, 100))
    with using_threads(1):
        run(folder, tmp_path / "whole", settings=chosen)
    with using_threads(2):
        with pytest.raises(Stopped):
            run(folder, tmp_path / "parts", settings=chosen, stop=lambda: next(steps) >= 3)
        run(folder, tmp_path / "parts", settings=chosen, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_resume_after_a_kill_repeats_from_the_last_checkpoint(folder, tmp_path):
    """A process that dies between checkpoints loses steps, not bits."""
    run(folder, tmp_path / "whole")

    def die():
        if (tmp_path / "killed" / "log.jsonl").read_text().count('"update"') == 6:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "killed", stop=die)
    run(folder, tmp_path / "killed", resume=True)
    for name, value in arrays(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, arrays(tmp_path / "killed")[name], err_msg=name)
    assert without_times(tmp_path / "whole" / "log.jsonl") == without_times(tmp_path / "killed" / "log.jsonl")


def test_scoring_shows_its_progress_and_can_be_stopped(folder, tmp_path):
    """Between two batches; --resume then scores again, and trains nothing."""
    run(folder, tmp_path / "whole")
    reporter = Quiet()
    with pytest.raises(Stopped):
        run(folder, tmp_path / "run", reporter=reporter, stop=lambda: bool(reporter.over("scoring")))
    assert reporter.steps == 15 and not (tmp_path / "run" / "metrics.json").exists()
    (total, done), = reporter.over("scoring")
    assert 0 < done < total
    reporter = Quiet()
    run(folder, tmp_path / "run", reporter=reporter, resume=True)
    assert reporter.steps == 0 and reporter.over("scoring") == [(total, total)]
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_without_test_files_nothing_is_scored(folder, tmp_path):
    reporter = Quiet()
    inputs = Inputs(folder / "encoder", source=[("en", folder / "en.txt")])
    assert run(folder, tmp_path / "run", inputs=inputs, reporter=reporter)["test"] == {} and reporter.over("scoring") == []


@pytest.mark.parametrize(("eval_every", "passes"), [(1, 2), (15, 1)])
def test_test_files_are_scored_once_where_the_last_parameters_are_the_selected_ones(folder, tmp_path, eval_every, passes):
    reporter, en = Quiet(), ("en", folder / "en.txt")
    inputs = Inputs(folder / "encoder", source=[en], dev=[en], test=[en])
    metrics = run(folder, tmp_path / "run", reporter=reporter, inputs=inputs, settings=settings(train__eval_every=eval_every))
    assert (metrics["selected_step"] < 15) == (passes == 2)
    pieces = next(int(line.split()[4]) for line in reporter.messages if line.startswith("test en: "))
    assert reporter.over("scoring") == [(passes * pieces, passes * pieces)]
    corpus = read_corpus("ner", *en)
    predictor = Predictor.load(tmp_path / "run" / "model")
    tags = [tagged.tags for tagged in predictor.tag([sentence.words for sentence in corpus.inputs])]
    assert score("ner", corpus.gold(), tags) == metrics["test"]["en"]


def test_accumulation_changes_the_memory_not_the_result(folder, tmp_path):
    changes = {"model__dropout": 0.0, "train__max_steps": 5}
    run(folder, tmp_path / "one", settings=settings(**changes))
    run(folder, tmp_path / "two", settings=settings(**changes, train__accumulate=2))
    for name, value in arrays(tmp_path / "one").items():
        np.testing.assert_allclose(value, arrays(tmp_path / "two")[name], rtol=2e-3, atol=2e-5, err_msg=name)


def test_frozen_parameters_stay_and_others_move(folder, tmp_path):
    before = load_file(folder / "encoder" / "model.safetensors")
    run(folder, tmp_path / "run", settings=settings(model__freeze=["bottom:1"]))
    after = arrays(tmp_path / "run")
    for name, value in before.items():
        name = f"bert.{name}"
        if name not in after:
            continue
        frozen = name.startswith(("bert.embeddings.", "bert.encoder.layer.0."))
        same = np.array_equal(value, after[name])
        if frozen:
            assert same, name
        elif name.endswith("query.weight"):
            assert not same, name


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_classification(folder, tmp_path, pooling):
    inputs = Inputs(folder / "encoder", source=[("en", folder / "en.tsv")], dev=[("en", folder / "en.tsv")],
                    test=[("es", folder / "es.tsv")])
    metrics = run(folder, tmp_path / "run", inputs=inputs,
                  settings=settings(task="classification", model__pooling=pooling, train__epochs=8))
    scores = metrics["test"]["es"]
    assert set(scores) == {"accuracy", "support", "macro_f1", "by_class", "confusion"}
    assert sum(count for row in scores["confusion"].values() for count in row.values()) == scores["support"]
    assert "confusion" not in (tmp_path / "run" / "log.jsonl").read_text()
    assert "confusion" not in json.loads((tmp_path / "run" / "model" / "minixl.json").read_text())["scores"]["es"]


def test_seeds_give_mean_and_sd(folder, tmp_path):
    metrics = train(settings(train__max_steps=4), ner_inputs(folder), tmp_path / "runs", seeds=[1, 2], reporter=Quiet())
    figure = metrics["test"]["en"]["f1"]
    assert figure["mean"] == pytest.approx(sum(figure["runs"]) / 2) and len(figure["runs"]) == 2
    again = train(settings(train__max_steps=4), ner_inputs(folder), tmp_path / "runs", seeds=[1, 2], reporter=Quiet(),
                  resume=True)
    assert again["test"] == metrics["test"]


def test_summarise_uses_the_sample_standard_deviation():
    assert summarise([{"f1": 1.0}, {"f1": 3.0}])["f1"] == {"mean": 2.0, "sd": pytest.approx(2 ** 0.5), "max": 3.0,
                                                           "runs": [1.0, 3.0]}


def test_seeds_resume_refuses_finished_runs_of_other_settings(folder, tmp_path):
    how = {"seeds": [1], "reporter": Quiet()}
    train(settings(train__max_steps=2), ner_inputs(folder), tmp_path / "runs", **how)
    with pytest.raises(UserError, match="train.max_steps was 2 when the run began, now it is 3"):
        train(settings(train__max_steps=3), ner_inputs(folder), tmp_path / "runs", resume=True, **how)


def test_summarise_leaves_out_what_only_some_runs_have():
    """A type that is not in the gold file is in by_type only where a run predicted it."""
    assert set(summarise([{"PER": 1.0, "MISC": 0.0}, {"PER": 0.5}])) == {"PER"}
    assert set(summarise([{"PER": 1.0}, {"PER": 0.5, "MISC": 0.0}])) == {"PER"}
    assert set(summarise([{"PER": 1.0, "confusion": {"a": {"a": 1}}}, {"PER": 0.5, "confusion": {"a": {"a": 1}}}])) == {"PER"}


def test_config_can_be_read_back(folder, tmp_path):
    run(folder, tmp_path / "run")
    stored, inputs, seed = read_config(tmp_path / "run", SCHEMA)
    assert dict(stored) == dict(settings()) and inputs == ner_inputs(folder) and seed == 3


def test_early_stopping(folder, tmp_path):
    metrics = run(folder, tmp_path / "run", settings=settings(optim__lr=0.0, optim__head_lr=1e-12, train__epochs=50,
                                                              train__eval_every=2, train__patience=3))
    assert metrics["steps"] == 2 * 4 and metrics["selected_step"] == 2


def test_patience_without_a_source_dev_file_says_so(folder, tmp_path):
    reporter = Quiet()
    run(folder, tmp_path / "run", inputs=Inputs(folder / "encoder", source=[("en", folder / "en.txt")]), reporter=reporter,
        settings=settings(train__patience=3, train__max_steps=1))
    assert any("train.patience has no effect" in message for message in reporter.messages)


def test_long_sentences_are_all_scored(folder, tmp_path):
    words = "anna visited paris . ".split() * 30
    tags = "B-PER O B-LOC O".split() * 30
    long = tmp_path / "long.txt"
    long.write_text("\n".join(f"{w}\t{t}" for w, t in zip(words, tags, strict=True)) + "\n")
    inputs = Inputs(folder / "encoder", source=[("en", folder / "en.txt")], test=[("en", long)])
    window = run(folder, tmp_path / "window", inputs=inputs)
    assert window["test"]["en"]["support"] == 60
    cut = run(folder, tmp_path / "cut", inputs=inputs, settings=settings(data__on_long="truncate"))
    assert 0 < cut["test"]["en"]["support"] < 30
    with pytest.raises(UserError, match=r"long.txt:1: the sentence has \d+ word pieces, but data.max_length is 32"):
        run(folder, tmp_path / "error", inputs=inputs, settings=settings(data__on_long="error"))


def test_mistakes_leave_no_folder_behind(folder, tmp_path):
    out = tmp_path / "run"
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("anna\tB-PER\nparis\tB-GEO\n")
    cases = [
        (Inputs(tmp_path / "nowhere", source=[("en", folder / "en.txt")]), "nowhere: no such folder"),
        (Inputs(folder / "encoder", source=[("en", tmp_path / "none.txt")]), "none.txt"),
        (Inputs(folder / "encoder", source=[]), "--source"),
        (Inputs(folder / "encoder", source=[("en", folder / "en.txt")], test=[("es", unknown)]),
         "unknown.txt:2: expected one of the tags .*found 'B-GEO'"),
        (Inputs(folder / "encoder", source=[("en", folder / "en.txt")] * 2), "/en.txt: given twice; each of its texts would"),
    ]
    for inputs, message in cases:
        with pytest.raises(UserError, match=message) as error:
            run(folder, out, inputs=inputs)
        assert "\n" not in str(error.value)
        assert not out.exists()


def test_a_folder_in_use_is_left_alone(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="the folder is in use"):
        run(folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with locked(tmp_path), pytest.raises(UserError, match="another process"), locked(tmp_path):
        pass


def test_resume_refuses_another_encoder_under_the_old_name(folder, tmp_path):
    """Its frozen parameters are in no checkpoint."""
    encoder = shutil.copytree(folder / "encoder", tmp_path / "encoder")
    inputs = Inputs(encoder, source=[("en", write_ner(tmp_path / "en.txt", "en", repeat=3))])
    with pytest.raises(Stopped):
        run(folder, tmp_path / "run", inputs=inputs, stop=lambda: True)
    path = encoder / "model.safetensors"
    arrays = load_file(path)
    arrays["embeddings.LayerNorm.bias"] = arrays["embeddings.LayerNorm.bias"] + 1
    save_file(arrays, path)
    with pytest.raises(UserError, match="encoder has changed since the run began; put the old one back"):
        run(folder, tmp_path / "run", inputs=inputs, resume=True)


def test_resume_refuses_changed_settings_data_and_finished_runs(folder, tmp_path):
    out = tmp_path / "run"
    data = write_ner(tmp_path / "en.txt", "en", repeat=3)
    inputs = Inputs(folder / "encoder", source=[("en", data)])
    with pytest.raises(Stopped):
        run(folder, out, inputs=inputs, stop=lambda: True)
    with pytest.raises(UserError, match="optim.lr was 0.001 when the run began, now it is 0.5"):
        run(folder, out, inputs=inputs, resume=True, settings=settings(optim__lr=0.5))
    data.write_text(data.read_text().replace("anna", "ben", 1))
    with pytest.raises(UserError, match="en.txt has changed since the run began"):
        run(folder, out, inputs=inputs, resume=True)
    write_ner(data, "en", repeat=3)
    state = next((out / "checkpoint").glob("state-*.safetensors"))
    whole = state.read_bytes()
    state.write_bytes(whole[:100])
    with pytest.raises(UserError, match="the checkpoint is damaged"):
        run(folder, out, inputs=inputs, resume=True)
    state.write_bytes(whole)
    run(folder, out, inputs=inputs, resume=True)
    with pytest.raises(UserError, match="is finished"):
        run(folder, out, inputs=inputs, resume=True)


def test_a_finished_run_keeps_its_checkpoint_only_by_the_setting(folder, tmp_path, monkeypatch):
    """It is deleted after metrics.json is there: a run that cannot write that can continue."""
    kept, deleted = settings(train__max_steps=2, train__keep_checkpoint=True), settings(train__max_steps=2)
    run(folder, tmp_path / "kept", settings=kept)
    assert {"latest.json", "state-2.safetensors"} < {path.name for path in (tmp_path / "kept" / "checkpoint").iterdir()}
    write, out = minixl.run.job.write_metrics, tmp_path / "deleted"
    monkeypatch.setattr(minixl.run.job, "write_metrics", fail)
    with pytest.raises(UserError, match="no room"):
        run(folder, out, settings=deleted)
    assert (out / "checkpoint" / "latest.json").is_file() and not (out / "metrics.json").exists()
    monkeypatch.setattr(minixl.run.job, "write_metrics", write)
    (out / "checkpoint" / "notes.txt").write_text("mine")
    reporter = Quiet()
    run(folder, out, settings=deleted, resume=True, reporter=reporter)
    assert "continuing at step 2 of 2" in reporter.messages
    assert [path.name for path in (out / "checkpoint").iterdir()] == ["notes.txt"]
    for name, value in arrays(tmp_path / "kept").items():
        np.testing.assert_array_equal(value, arrays(out)[name], err_msg=name)


def fail(*_):
    raise UserError("metrics.json: no room")
