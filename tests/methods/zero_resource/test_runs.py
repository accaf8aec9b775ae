"""Whole runs of cross-augmented: the stages and rounds, resume to the same bits, the model folder, the report, mistakes."""
from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import load_file

import minixl
from minixl.building import load_model
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.methods import SCHEMA, train
from minixl.methods.zero_resource.labels import FOLDER, KIND
from minixl.run.once import read
from tests.tiny import write_ner, write_vectors
from tests.whole_runs import Quiet, assert_same_run, records, stopped

WORDS = "anna ben paris madrid visited lives visit the in visita vive en .".split()
TINY = {"task": "ner", "method": "zero-resource", "model.type": "augmented-tagger", "model.word_hidden": 6, "model.dense_size": 5,
        "model.char_size": 4, "model.char_hidden": 3, "model.tied": True, "optim.name": "adam", "optim.lr": 0.02,
        "optim.warmup": 0.0, "train.batch_size": 4, "train.epochs": 3, "train.eval_every": 4, "zero_resource.source_epochs": 2,
        "zero_resource.shortest": 3, "zero_resource.round_steps": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_ner(folder / "en.txt", "en", repeat=3)
    write_ner(folder / "es.txt", "es", repeat=3)
    rng = np.random.default_rng(5)
    write_vectors(folder / "all.vec", {word: np.round(rng.normal(size=7), 3).tolist() for word in WORDS})
    return folder


def inputs(data, **roles):
    en, es = ("en", data / "en.txt"), ("es", data / "es.txt")
    return Inputs(None, **{"source": [en], "dev": [en, es], "test": [en, es], "unlabelled": [es],
                           "vectors": [("en", data / "all.vec")], **roles})


def settings(**changes):
    return SCHEMA.settings({**TINY, **{name.replace("__", "."): value for name, value in changes.items()}})


def run(data, out, chosen=None, **how):
    how = {"seed": 3, "reporter": Quiet(), "inputs": inputs(data), **how}
    return train(chosen or settings(), how.pop("inputs"), out, **how)


def test_the_algorithm_of_the_paper(data, tmp_path):
    """A source model, then rounds; each labels the sentences up to its length with the source model of that moment."""
    out, reporter = tmp_path / "run", Quiet()
    run(data, out, settings(zero_resource__audit=True), reporter=reporter)
    source, after = load_file(out / "source" / "model" / "model.safetensors"), load_file(out / "model" / "model.safetensors")
    assert set(after) - set(source) == {name for name in after if name.startswith("target_")}
    updates = [record for record in records(out) if record["kind"] == "update"]
    steps = 1 + max(record["step"] for record in updates)
    assert Counter(record["loss"] for record in updates) == {"task": steps, "pseudo-labels": steps, "target": steps}
    rounds = json.loads((out / "rounds.json").read_text())
    assert len(rounds) == -(-steps // 3) > 2 and {row["round"] for row in rounds} == set(range(1, len(rounds) + 1))
    lengths = [len(sentence.split()) for sentence in ("anna visita madrid .", "ben vive en paris .", "paris .")] * 3
    for row in rounds:
        content = read(out / FOLDER / f"round-{row['round']}.safetensors", KIND)
        assert content.arrays["sentences"].tolist() == [i for i, n in enumerate(lengths) if n <= row["threshold"]]
        assert 3 <= row["threshold"] <= 5 and row["words"] == len(content.arrays["labels"])
        assert 0 <= row["f1"] <= 1 and 0 <= row["correct"] <= 1 and (row["agreement"] is None) == (row["round"] == 1)
        assert f"round {row['round']}: {row['sentences']} sentences in es of at most {row['threshold']} words" in reporter.messages
    assert len({row["threshold"] for row in rounds}) > 1
    first = read(out / FOLDER / "round-1.safetensors", KIND).arrays
    predictor = minixl.load(out / "source" / "model", device="cpu")
    words = [["anna", "visita", "madrid", "."], ["ben", "vive", "en", "paris", "."], ["paris", "."]] * 3
    tags = [predictor.tag([words[i]])[0].tags for i in first["sentences"].tolist()]
    labels = load_model(out / "source" / "model")[0].labels
    stored = [[labels[i] for i in part] for part in np.split(first["labels"], first["starts"][1:-1])]
    assert [[tag[2:] for tag in sentence] for sentence in stored] == [[tag[2:] for tag in sentence] for sentence in tags]
    page = (out / "report.html").read_text()
    assert "<h2>Rounds</h2>" in page and "<h2>Length and correctness</h2>" in page and "<h2>Parameters</h2>" in page
    drawn = json.loads((out / "picture.json").read_text())
    assert set(drawn) == {"word vectors", "common layer"} and page.count("<circle ") >= sum(
        len(words) for languages in drawn.values() for words in languages.values()) > 0
    gold = Counter(kind for kind, _, _ in drawn["common layer"]["en"])
    assert gold == {"PER": 18, "LOC": 15} and all(0 <= place <= 1 for _, *point in drawn["word vectors"]["en"] for place in point)
    same = {tuple(point) for kind, *point in drawn["word vectors"]["en"] if kind == "PER"}
    assert len(same) == 2                                          # anna and ben, wherever they stand
    assert sum(row["sentences"] for row in json.loads((out / "lengths.json").read_text())) == 9


def test_stopped_between_and_inside_stages_and_rounds(data, tmp_path):
    reporter, chosen = Quiet(), settings(train__checkpoint_every=2)
    run(data, tmp_path / "once", chosen, reporter=reporter)
    first = json.loads((tmp_path / "once" / "source" / "metrics.json").read_text())["steps"]
    for count in (2, first, first + 1, first + 3, first + 5, reporter.steps - 1):      # of 3 steps a round
        out = tmp_path / f"twice-{count}"
        stopped(data, out, chosen, count, inputs=inputs(data))
        run(data, out, chosen, resume=True)
        for part in (".", "source"):
            assert_same_run(tmp_path / "once" / part, out / part)
        for path in (tmp_path / "once" / FOLDER).iterdir():
            assert path.read_bytes() == (out / FOLDER / path.name).read_bytes()
        assert (tmp_path / "once" / "rounds.json").read_text() == (out / "rounds.json").read_text()


def change_last_byte(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


NEW_FOLDER = "cannot be made again in the middle of a round: start again with a new --out folder$"


@pytest.mark.parametrize("lose, message", [
    (lambda path: path.unlink(), f"expected the pseudo-labels with which the round began, found no file; they {NEW_FOLDER}"),
    (change_last_byte, rf"the file is damaged \(the arrays have changed\); its labels {NEW_FOLDER}"),
    (lambda path: path.write_bytes(b""), rf"the file is damaged \(.*\); its labels {NEW_FOLDER}")],
    ids=["missing", "changed", "empty"])
def test_the_labels_of_a_round_are_not_made_again_in_its_middle(data, tmp_path, lose, message):
    out, chosen = tmp_path / "run", settings()
    stopped(data, out, chosen, 10 + 4, inputs=inputs(data))            # 10 steps of the first stage, then one step of round 2
    path = out / FOLDER / "round-2.safetensors"
    lose(path)
    with pytest.raises(UserError, match=f"^{path}: {message}"):
        run(data, out, chosen, resume=True)


def test_damaged_labels_of_a_round_that_begins_can_be_deleted(data, tmp_path):
    """Stopped when its file was written, but before its first step."""
    run(data, tmp_path / "once", settings())
    out, chosen = tmp_path / "run", settings(train__checkpoint_every=1)
    stopped(data, out, chosen, 10 + 3, inputs=inputs(data))            # at the end of round 1
    path = out / FOLDER / "round-2.safetensors"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=rf"^{path}: the file is damaged \(.*\); delete the file to have it made again$"):
        run(data, out, chosen, resume=True)
    path.unlink()
    run(data, out, chosen, resume=True)
    assert path.read_bytes() == (tmp_path / "once" / FOLDER / path.name).read_bytes()


def test_a_damaged_round_of_a_finished_training_costs_only_its_figures(data, tmp_path):
    out, reporter = tmp_path / "run", Quiet()
    run(data, tmp_path / "once", reporter=reporter)
    stopped(data, out, settings(), reporter.steps - 1, inputs=inputs(data))
    path = out / FOLDER / "round-2.safetensors"
    change_last_byte(path)
    message = r"the file is damaged \(the arrays have changed\); delete the file to finish without the figures from this round on$"
    with pytest.raises(UserError, match=f"^{path}: {message}"):
        run(data, out, resume=True)
    path.unlink()
    run(data, out, resume=True)
    assert [row["round"] for row in json.loads((out / "rounds.json").read_text())] == [1]


def test_a_source_language_is_read_with_one_encoder_and_others_with_both(data, tmp_path):
    out = tmp_path / "run"
    metrics = run(data, out)
    predictor = minixl.load(out / "model", device="cpu")
    model, sentence = predictor.model, [["anna", "visited", "paris", "."]]
    scores = {language: predictor.for_language(language).tag(sentence)[0].confidences for language in ("en", "es", "")}
    np.testing.assert_array_equal(scores["es"], scores[""])
    assert not np.allclose(scores["en"], scores["es"])
    assert predictor.for_language("en").model is model.source and model.sources == {"en"}
    alone = minixl.load(out / "source" / "model", device="cpu")
    for name in ("word_lstm.weight_ih_l0", "crf.transitions"):         # the source model was trained further
        assert not np.array_equal(alone.model.store[name].value, model.store[name].value)
    assert set(metrics["test"]) == {"en", "es"}


def test_the_source_model_may_have_a_learning_rate_of_its_own(data, tmp_path):
    run(data, tmp_path / "run", settings(zero_resource__source_lr=0.01, model__save_dtype="float16"))
    rates = {stage: {r["lr"] for r in records(tmp_path / "run" / stage) if r["kind"] == "update"} for stage in ("source", ".")}
    assert max(rates["source"]) == 0.01 and max(rates["."]) == 0.02
    stored = load_file(tmp_path / "run" / "source" / "model" / "model.safetensors")
    assert {array.dtype for array in stored.values()} == {np.dtype("f4")}      # the second stage begins where it ended


def test_a_sweep_of_lengths_and_flow(data, tmp_path):
    """One threshold for all rounds; a gradient that flows gives another source model."""
    out = tmp_path / "run"
    fixed = {"zero_resource__shortest": 4, "zero_resource__longest": 4, "zero_resource__round_steps": 0}
    run(data, out, settings(**fixed))
    rounds = json.loads((out / "rounds.json").read_text())
    assert {row["threshold"] for row in rounds} == {4} and {row["sentences"] for row in rounds} == {6}
    run(data, tmp_path / "flow", settings(**fixed, model__flow=True))
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (out, tmp_path / "flow"))
    assert not np.array_equal(one["word_lstm.weight_ih_l0"], other["word_lstm.weight_ih_l0"])


@pytest.mark.parametrize("changes", [{"perturbation__kind": "adversarial"}, {"model__chars": False}, {"train__accumulate": 2},
                                     {"model__train_vectors": True}, {"task": "ner", "model__save_dtype": "float16"}],
                         ids=["perturbed", "no characters in the source model", "in parts", "trained vectors", "float16"])
def test_variants_run(data, tmp_path, changes):
    metrics = run(data, tmp_path / "run", settings(train__epochs=1, **changes))
    assert metrics["steps"] == 5 and set(metrics["oracle"]) == {"es"}


MISTAKES = {
    "two targets": ({}, {"unlabelled": ["es", "fr"]}, "^--unlabelled: expected one target language, as the target encoder has one, "
                    "found es, fr; start a run for each$"),
    "no vectors": ({}, {"vectors": []}, "^--vectors: expected word vectors of the source and the target language, mapped into one"),
    "no text": ({}, {"unlabelled": []}, "^--unlabelled: zero-resource reads unlabelled text, so it needs text in a language other"),
    "another model": ({"model__type": "bilstm-crf"}, {}, "^model.type: expected augmented-tagger, which method zero-res"),
    "fine-tuning of both encoders": ({"method": "finetune"}, {}, "^model.type: expected a model with one enc"),
    "lengths": ({"zero_resource__longest": 2}, {}, "^zero_resource.longest: expected at least zero_resource.shortest=3, found 2$"),
    "no short sentence": ({"zero_resource__shortest": 1}, {}, "^zero_resource.shortest: expected at least 2, the words of the"),
    "only longer sentences": ({"zero_resource__shortest": 0, "zero_resource__longest": 1}, {},
                              "^zero_resource.longest: expected at least 2, the words of the shortest sentence in es, found 1$"),
    "an adversary": ({"adversary__level": "token"}, {}, "^adversary.level: expected a transformer, found a augmented-tagger"),
    "frozen": ({"model__freeze": ["target_*", "dense.*", "classifier.*", "crf.*", "char_embeddings.*"]}, {},
               "^model.freeze: leaves no parameter of the target model to train"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_leave_no_folder(data, tmp_path, name):
    changes, roles, message = MISTAKES[name]
    roles = {role: [(language, data / "es.txt") for language in languages] for role, languages in roles.items()}
    with pytest.raises(UserError, match=message) as error:
        run(data, tmp_path / "run", settings(**changes), inputs=inputs(data, **roles))
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()
