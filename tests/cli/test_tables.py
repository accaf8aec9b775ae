"""The tables of train and evaluate cell by cell, and the options and the model's own settings that decide the figures."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from minixl.building.folder import ModelInfo, save_model
from minixl.cli.evaluation_tables import score_table
from minixl.cli.train import print_table
from minixl.evaluation.scores import mean_sd, score, score_entities
from minixl.models.transformer import Transformer
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer
from tests.tiny import write_encoder
from tests.whole_runs import inputs, run, settings, write_data

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
GOLD = [("paris", "B-LOC"), ("anna visited madrid", "B-PER O B-LOC"), ("ben lives", "B-PER O"), ("the visit", "O O")]
SOURCE = [("anna ben visited madrid .", "B-PER I-PER O B-LOC O"), ("the visit .", "O O O")] * 8
LONG = [("ben visited madrid . " * 3, "B-PER O B-LOC O " * 3), ("anna ben visited ben .", "B-PER I-PER O B-PER O")]


def write_conll(path, sentences):
    path.write_text("\n".join("".join(f"{word}\t{tag}\n" for word, tag in zip(words.split(), tags.split(), strict=True))
                              for words, tags in sentences))
    return path


def write_tagger(folder, encoder, tag, constrained):
    """A model folder that tags every word with `tag`, where the scheme allows it."""
    config = read_config(encoder)
    model = Transformer(config, LABELS, "token")
    load_parameters(encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")})
    model.store["classifier.weight"].value[...] = 0
    model.store["classifier.bias"].value[...] = 5.0 * (np.array(LABELS) == tag)
    info = ModelInfo(task="ner", labels=LABELS, scheme="IOB2", pooling="token", max_length=32, constrained=constrained)
    save_model(folder, model, Tokenizer(encoder, config.vocab_size), info, config.raw)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_encoder(folder / "encoder")
    write_conll(folder / "gold.txt", GOLD)
    return folder


@pytest.fixture(scope="module")
def inside(data):
    """A tagger that says I-LOC of every word: one entity a sentence as conlleval reads it, none in literal IOB2."""
    return write_tagger(data / "inside", data / "encoder", "I-LOC", constrained=False)


# minixl train

def test_every_cell_of_a_run(capsys):
    f1 = lambda value: {"f1": value}
    metrics = {"task": "ner", "test": {"en": f1(0.9), "es": f1(0.1)}, "last": {"en": f1(0.8), "es": f1(0.2)},
               "oracle": {"es": f1(0.3)}}
    print_table(metrics, ["en"])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["test", "f1", "selected", "last", "oracle"], ["en", "90.0", "80.0"], ["es", "10.0", "20.0", "30.0"]]
    print_table(metrics | {"oracle": {}}, ["en"])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["test", "f1", "selected", "last"], ["en", "90.0", "80.0"], ["es", "10.0", "20.0"]]


@pytest.mark.parametrize(("steps", "f1"), [(0, 0.5), ({"mean": 0.0, "sd": 0.0, "max": 0, "runs": [0]},
                                                      {"mean": 0.5, "sd": 0.0, "max": 0.5, "runs": [0.5]})])
def test_scores_of_teachers_are_not_shown_as_those_of_a_step(capsys, steps, f1):
    """advpicker.variant=without-kd: nothing is trained.  Also with --seeds 1."""
    scores = {"es": {"f1": f1}}
    print_table({"task": "ner", "test": scores, "last": scores, "oracle": {}, "steps": steps,
                 "scored": {"teachers": "the teachers"}}, ["en"])
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["test", "f1", "teachers"] and row.split()[:2] == ["es", "50.0"]


def test_every_cell_of_several_seeds(capsys):
    spread = lambda mean, sd: {"es": {"accuracy": {"mean": mean, "sd": sd, "runs": [mean]}}}
    print_table({"task": "pos", "test": spread(0.1, 0.01), "last": spread(0.2, 0.02), "oracle": spread(0.3, 0.03)}, ["en"])
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["test", "accuracy", "selected", "last", "oracle"]
    assert row.split() == ["es", "10.0", "±1.0", "20.0", "±2.0", "30.0", "±3.0"]


def test_the_mean_over_the_target_languages(capsys):
    """Without source languages; in the column oracle only if all targets have one.  Of seeds: the mean of their means."""
    f1 = lambda *values: {"f1": dict(zip(("mean", "sd", "max"), mean_sd(values) + (max(values),), strict=True)) | {"runs": values}
                          if len(values) > 1 else values[0]}
    one = {"en": f1(0.9), "es": f1(0.1), "fr": f1(0.4)}
    print_table({"task": "ner", "test": one, "last": one, "oracle": {"es": f1(0.3)}}, ["en"])
    assert [line.split() for line in capsys.readouterr().out.splitlines()][3:] == [["fr", "40.0", "40.0"],
                                                                                   ["target", "mean", "25.0", "25.0"]]
    seeds = {"en": f1(0.9, 0.9), "es": f1(0.1, 0.3), "fr": f1(0.4, 0.4)}
    print_table({"task": "ner", "test": seeds, "last": seeds, "oracle": {}}, ["en"])
    assert capsys.readouterr().out.splitlines()[-1].split() == ["target", "mean", "30.0", "±7.1", "30.0", "±7.1"]
    print_table({"task": "ner", "test": one, "last": one, "oracle": {}}, ["en", "fr"])
    assert "target mean" not in capsys.readouterr().out


# minixl evaluate: tables

def test_every_cell_of_an_evaluation(minixl, data, inside):
    """Four sentences, each an entity LOC from its first word to its last; one is right, of two LOC and two PER."""
    code, out, err = minixl("evaluate", inside, f"en={data}/gold.txt")
    assert code == 0 and "leniently" in err
    assert [line.split() for line in out.splitlines()] == [
        ["language", "type", "precision", "recall", "f1", "entities"], ["en", "all", "25.0", "25.0", "25.0", "4"],
        ["en", "LOC", "25.0", "50.0", "33.3", "2"], ["en", "PER", "0.0", "0.0", "0.0", "2"],
        ["en", "macro", "12.5", "25.0", "16.7"]]
    found = json.loads(minixl("evaluate", inside, f"en={data}/gold.txt", "--json")[1])["en"]
    assert (found["precision"], found["recall"], found["support"]) == (0.25, 0.25, 4)
    loc = found["by_type"]["LOC"]
    assert (loc["precision"], loc["recall"], loc["f1"], loc["support"]) == (0.25, 0.5, pytest.approx(1 / 3), 2)


def test_the_mean_over_the_target_languages_of_an_evaluation(minixl, data):
    """Languages that the model was not trained on; a row only if there are several."""
    rows = {language: score_entities([gold], [["B-LOC"]]) for language, gold in
            (("en", ["B-LOC"]), ("es", ["B-LOC"]), ("fr", ["B-PER"]))}
    lines, _ = score_table(rows, "ner", False, ["en"])
    assert lines[-1].split() == ["target", "mean", "all", "50.0", "50.0", "50.0"]
    assert "target mean" not in str(score_table(rows, "ner", False, ["en", "es"])[0])
    documents = {language: {**score("classification", ["a", "b"], predicted), "calibration_error": error}
                 for language, predicted, error in (("en", ["a", "b"], 0.5), ("es", ["a", "a"], 0.1), ("fr", ["b", "a"], 0.3))}
    lines, _ = score_table(documents, "classification", False, ["en"])
    assert lines[-1].split() == ["target", "mean", "25.0", "16.7", "20.0"]


def test_strict_takes_tags_literally(minixl, data, inside):
    code, out, err = minixl("evaluate", inside, f"en={data}/gold.txt", "--strict")
    assert code == 0 and "strictly" in err
    assert out.splitlines()[1].split() == ["en", "all", "0.0", "0.0", "0.0", "4"]
    assert json.loads(minixl("evaluate", inside, f"en={data}/gold.txt", "--strict", "--json")[1])["en"]["f1"] == 0


@pytest.mark.parametrize(("limit", "support", "precision"), [(0, 4, 1 / 4), (2, 3, 1 / 2), (1, 1, 1.0)])
def test_a_limit_counts_sentences(minixl, data, inside, limit, support, precision):
    found = json.loads(minixl("evaluate", inside, f"en={data}/gold.txt", "--limit", limit, "--json")[1])["en"]
    assert (found["support"], found["precision"]) == (support, precision)


def test_the_probe_table_says_what_json_says(minixl, data, tmp_path):
    """Texts of the first language in both test files: those of the second are not recognised."""
    rng = np.random.default_rng(0)
    for name, letters, count in (("x", "abcdefgh", 24), ("y", "qrstuvwx", 24), ("z", "abcdefgh", 15)):
        (tmp_path / name).write_text("\n".join("".join(rng.choice(list(letters), 6)) for _ in range(count)))
    x, y, z = (tmp_path / name for name in "xyz")
    given = ("evaluate", data / "encoder", "--probe", f"x-y={x},{y},{x},{z}")
    found, out = json.loads(minixl(*given, "--json")[1])["probe"]["x-y"], minixl(*given)[1]
    head, *lines = [line.split() for line in out.splitlines()]
    assert head == ["pair", "level", "accuracy", "source", "target", "tested"]
    assert lines == [["x-y", level, *(f"{100 * row[name]:.1f}" for name in ("accuracy", "recall_source", "recall_target")),
                      str(row["tested"])] for level, row in found.items()]
    for row in found.values():
        assert row["recall_source"] > 0.7 > 0.3 > row["recall_target"]


# minixl evaluate: what the model was trained with

@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose tags are free and whose long sentences are cut; it has learnt that ben is I-PER, wherever he stands."""
    folder = write_data(tmp_path_factory.mktemp("trained"))
    source, test = write_conll(folder / "source.txt", SOURCE), write_conll(folder / "long.txt", LONG)
    chosen = settings(decode__constrained=False, data__on_long="truncate", data__max_length=10, train__epochs=10)
    metrics = run(folder, folder / "run", chosen, inputs=inputs(folder, source=[("en", source)], dev=[], test=[("en", test)]))
    return folder, metrics["test"]["en"]


def test_a_model_scores_as_its_metrics_say(minixl, trained):
    folder, expected = trained
    assert expected["f1"] > 0
    code, out, _ = minixl("evaluate", folder / "run" / "model", f"en={folder}/long.txt", "--json")
    assert code == 0 and json.loads(out) == {"en": expected}


@pytest.mark.parametrize("changed", [{"constrained": True}, {"on_long": "window"}, {"max_length": 32}])
def test_the_models_own_settings_decide(minixl, trained, tmp_path, changed):
    """Each of the three in minixl.json makes another score: the test before says something."""
    folder, expected = trained
    copied = Path(shutil.copytree(folder / "run" / "model", tmp_path / "model"))
    info = copied / "minixl.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | changed))
    assert json.loads(minixl("evaluate", copied, f"en={folder}/long.txt", "--json")[1])["en"] != expected
