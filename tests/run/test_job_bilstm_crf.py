"""Whole runs of a BiLSTM-CRF: its settings, word vectors, tag schemes, resume, seeds, and what is said of unknown words."""
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from minixl.building import load_info
from minixl.data.conll import read_conll
from minixl.data.inputs import Inputs
from minixl.data.lexicon import Lexicon
from minixl.data.schemes import convert
from minixl.errors import UserError
from minixl.methods import SCHEMA, train
from minixl.prediction import Predictor
from minixl.weights.word_vectors import read_vectors
from tests.tiny import write_ner, write_pos, write_vectors
from tests.weights.test_fasttext_binary import model as fasttext_bytes
from tests.whole_runs import Quiet, assert_same_run, records, stopped

SMALL = {"model.word_size": 10, "model.word_hidden": 8, "model.dense_size": 8, "model.char_size": 5, "model.char_hidden": 4}
ADAM = {"optim.name": "adam", "optim.lr": 0.02, "optim.warmup": 0.0, "optim.schedule": "constant", "train.epochs": 6,
        "train.batch_size": 4}
TABLE = "word_embeddings.weight"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for language in ("en", "es"):
        write_ner(folder / f"{language}.txt", language, repeat=3)
        write_pos(folder / f"{language}.pos", language, repeat=3)
    return folder


def inputs(data, suffix="txt", **roles):
    en, es = ("en", data / f"en.{suffix}"), ("es", data / f"es.{suffix}")
    return Inputs(None, **{"source": [en], "dev": [en], "test": [en, es], **roles})


def settings(**changes):
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return SCHEMA.settings({"task": "ner", "model.type": "bilstm-crf", **SMALL, **ADAM, **given})


def run(files, out, chosen=None, **how):
    how = {"seed": 3, "reporter": Quiet(), **how}
    return train(chosen or settings(), files, out, **how)


def parameters(out):
    return load_file(out / "model" / "model.safetensors")


def losses(out):
    return [record["value"] for record in records(out) if record["kind"] == "update"]


@pytest.mark.parametrize("recipe, suffix, figure", [("bilstm-crf-ner", "txt", "f1"), ("bilstm-crf-pos", "pos", "accuracy")])
def test_the_recipes_learn_and_the_saved_model_is_the_one_that_was_scored(data, tmp_path, recipe, suffix, figure):
    chosen = SCHEMA.settings({**SCHEMA.recipe(recipe), **SMALL, **ADAM, "train.epochs": 15})
    metrics = run(inputs(data, suffix), tmp_path / "run", chosen)
    assert metrics["test"]["en"][figure] > 0.9
    info = load_info(tmp_path / "run" / "model")
    assert info.family == "bilstm-crf" and info.scheme == {"ner": "IOBES", "pos": "none"}[info.task]
    predictor = Predictor.load(tmp_path / "run" / "model", device="cpu")
    gold = [list(s.tags) for s in read_conll(data / f"en.{suffix}", scheme=None if info.task == "ner" else "none").sentences]
    words = [s.words for s in read_conll(data / f"en.{suffix}", tags=False).sentences]
    found = [answer.tags for answer in predictor.tag(words)]
    right = sum(a == b for one, two in zip(gold, found, strict=True) for a, b in zip(one, two, strict=True))
    assert right / sum(map(len, gold)) > 0.9
    assert {tag[0] for tags in found for tag in tags} <= ({"O", "B", "I"} if info.task == "ner" else set("ADNPV"))


VARIANTS = {
    "tied": ({"model__tied": True}, lambda names: not any(name.endswith("_reverse") for name in names)),
    "no chars": ({"model__chars": False}, lambda names: not any(name.startswith("char_") for name in names)),
    "variational": ({"model__variational": True}, lambda names: True),
    "dropout": ({"model__dropout": 0.1}, lambda names: True),
    "start_end": ({"model__start_end": True}, lambda names: {"crf.start_transitions", "crf.end_transitions"} <= set(names)),
    "constrained": ({"model__constrained_training": True}, lambda names: True),
    "IOB2": ({"model__scheme": "IOB2"}, lambda names: True),
}


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """A run with all settings as they are."""
    out = tmp_path_factory.mktemp("plain") / "run"
    run(inputs(data), out)
    return out


@pytest.mark.parametrize("name", VARIANTS)
def test_every_setting_of_the_model(data, tmp_path, plain, name):
    """It changes the training, has the parameters it should, and the saved model scores as the trained one did."""
    changes, fits = VARIANTS[name]
    metrics = run(inputs(data), tmp_path / "run", settings(**changes))
    assert fits(parameters(tmp_path / "run")) and losses(tmp_path / "run") != losses(plain)
    if name == "constrained":                                          # the sum is over fewer sequences
        assert losses(tmp_path / "run")[0] < losses(plain)[0]
    again = run_scores(tmp_path / "run" / "model", data)
    assert again == metrics["test"]


def run_scores(folder, data):
    """What `minixl evaluate` computes."""
    from minixl.data.corpus import encode_corpus, read_corpus
    from minixl.evaluation.scores import score
    from minixl.prediction import predict_labels
    predictor = Predictor.load(folder, device="cpu")
    info, results = predictor.info, {}
    for language in ("en", "es"):
        corpus = read_corpus(info.task, language, data / f"{language}.txt")
        encoded = encode_corpus(corpus, predictor.tokenizer, info.labels, max_length=info.max_length, on_long=info.on_long)
        results[language] = score(info.task, corpus.gold(), predict_labels(predictor.model, encoded, info.scheme,
                                                                           constrained=info.constrained))
    return results


def test_labels_are_iobes_and_so_is_what_is_learnt(plain):
    info = load_info(plain / "model")
    assert info.labels == ["O", *(f"{letter}-{kind}" for kind in ("LOC", "PER") for letter in "BIES")]
    classifier = parameters(plain)["classifier.bias"]
    gold = classifier[[info.labels.index(f"S-{kind}") for kind in ("LOC", "PER")]]
    assert classifier.shape == (9,) and np.all(gold != 0)


@pytest.mark.parametrize("scheme", ["IOB1", "IOBES", "BIOUL"])
def test_the_scheme_of_the_files_makes_no_difference(data, tmp_path, plain, scheme):
    """Detected and converted without loss: the same run, bit by bit."""
    folder = tmp_path / scheme
    folder.mkdir()
    for language in ("en", "es"):
        sentences = read_conll(data / f"{language}.txt").sentences
        (folder / f"{language}.txt").write_text("\n".join(
            "".join(f"{word}\t{tag}\n" for word, tag in zip(s.words, convert(s.tags, "IOB2", scheme), strict=True))
            for s in sentences))
    assert read_conll(folder / "en.txt").file_scheme == scheme
    run(inputs(folder), tmp_path / "run")
    assert_same_run(plain, tmp_path / "run")


WORDS = ["anna", "ben", "paris", "madrid", "visited", "."]
VECTORS = {word: np.random.default_rng(i).normal(size=6).round(3).tolist() for i, word in enumerate(WORDS)}


def with_vectors(data, tmp_path, **files):
    return inputs(data, vectors=[(language, write_vectors(tmp_path / f"{language}.vec", vectors))
                                 for language, vectors in files.items()])


def test_vectors_stay_as_they_are(data, tmp_path):
    reporter = Quiet()
    run(with_vectors(data, tmp_path, en=VECTORS), tmp_path / "run", settings(train__keep_checkpoint=True), reporter=reporter)
    table = parameters(tmp_path / "run")[TABLE]
    lexicon = Lexicon.load(tmp_path / "run" / "model")
    assert list(lexicon.vocabulary) == WORDS and table.shape == (7, 6)
    np.testing.assert_array_equal(table[1:], np.array(list(VECTORS.values()), np.float32))
    np.testing.assert_allclose(table[0], np.mean(list(VECTORS.values()), axis=0), rtol=1e-5)
    assert any(m.startswith("vectors en: ") and "% unknown" in m for m in reporter.messages)
    assert any(m.startswith("test es: ") and m.endswith("% of them unknown") for m in reporter.messages)
    assert not any("warning: --vectors" in m for m in reporter.messages)
    stored = load_file(next((tmp_path / "run" / "checkpoint").glob("state-*.safetensors")))
    assert not any(TABLE in name for name in stored)                   # what is not trained is not stored again


def test_vectors_that_are_trained(data, tmp_path):
    vectors = VECTORS | {"unused": [1.0] * 6}
    run(with_vectors(data, tmp_path, en=vectors), tmp_path / "run", settings(model__train_vectors=True))
    table = parameters(tmp_path / "run")[TABLE][1:]
    moved = (table != np.array(list(vectors.values()), np.float32)).any(axis=1)
    np.testing.assert_array_equal(moved, [True] * 6 + [False])         # only those of words that the training text has


def test_several_languages_stand_in_one_table(data, tmp_path):
    reporter, other = Quiet(), {"paris": [9.0] * 6, "visita": [0.5] * 6}
    run(with_vectors(data, tmp_path, en=VECTORS, es=other), tmp_path / "run", reporter=reporter)
    lexicon, table = Lexicon.load(tmp_path / "run" / "model"), parameters(tmp_path / "run")[TABLE]
    assert list(lexicon.vocabulary) == [*WORDS, "paris", "visita"]
    english = 1 + WORDS.index("paris")
    for language, row, vector in (("en", english, VECTORS["paris"]), ("es", len(WORDS) + 1, [9.0] * 6)):
        ids = [piece for [piece] in lexicon.for_language(language).pieces_batch([["paris"]])[0]]
        assert lexicon.rows(np.array(ids)).tolist() == [row]
        np.testing.assert_array_equal(table[row], np.float32(vector))
    np.testing.assert_array_equal(table[-1], np.float32([0.5] * 6))
    said = {m.split(":")[0]: m for m in reporter.messages if m.startswith("vectors ")}
    assert said.keys() == {"vectors en", "vectors es"} and "27.3 % of 33 tokens found" in said["vectors es"]
    assert "test es: 9 inputs, 33 words, 18.2 % of them unknown" in reporter.messages   # vive and en, whatever the file


def test_fasttext_gives_vectors_to_words_it_does_not_have(data, tmp_path):
    """Those of the dev and test texts of its language, and of no other."""
    path = tmp_path / "es.bin"
    path.write_bytes(fasttext_bytes(["anna", "paris", "."], dim=6, minn=2, maxn=4, bucket=50)[0])
    reporter = Quiet()
    run(inputs(data, vectors=[("es", path)]), tmp_path / "run", reporter=reporter)
    lexicon, table = Lexicon.load(tmp_path / "run" / "model"), parameters(tmp_path / "run")[TABLE]
    assert set(lexicon.vocabulary) == {"anna", "paris", ".", "visita", "madrid", "ben", "vive", "en"}
    vectors = read_vectors(path)
    for row, word in enumerate(lexicon.vocabulary, 1):
        np.testing.assert_array_equal(table[row], vectors.vector(word), err_msg=word)
    assert any("subwords" in m and m.startswith("vectors es") for m in reporter.messages)
    assert "test es: 9 inputs, 33 words, 0.0 % of them unknown" in reporter.messages


def test_vectors_of_another_language(data, tmp_path):
    reporter = Quiet()
    run(with_vectors(data, tmp_path, en={"дом": [1.0] * 6, "мир": [2.0] * 6}), tmp_path / "run",
        settings(train__max_steps=1), reporter=reporter)
    assert [m for m in reporter.messages if "warning: --vectors" in m] == [
        f"warning: --vectors en={tmp_path}/en.vec: it has none of the words of the en texts; is it for another language?"]


def test_unknown_words_are_counted_for_every_file(data, tmp_path):
    reporter = Quiet()
    run(inputs(data), tmp_path / "run", reporter=reporter)
    assert [m for m in reporter.messages if m.endswith("unknown")] == [
        "source en: 18 inputs, 78 words, 0.0 % of them unknown", "dev en: 18 inputs, 78 words, 0.0 % of them unknown",
        "test en: 18 inputs, 78 words, 0.0 % of them unknown", "test es: 9 inputs, 33 words, 27.3 % of them unknown"]


SGD = {"optim__name": "sgd", "optim__lr": 0.1, "optim__schedule": "inverse", "optim__decay": 0.5}
RESUMED = {"adam": {}, "sgd": SGD, "adamw tied": {"optim__name": "adamw", "model__tied": True, "model__start_end": True},
           "sgd, vectors": SGD, "adam, trained vectors": {"model__train_vectors": True}}


@pytest.mark.parametrize("count", [1, 7, 23])
@pytest.mark.parametrize("name", RESUMED)
def test_resume_is_bit_equal(data, tmp_path, name, count):
    files = with_vectors(data, tmp_path, en=VECTORS) if "vectors" in name else inputs(data)
    chosen = settings(**RESUMED[name], train__epochs=5, train__eval_every=6, train__checkpoint_every=4)
    run(files, tmp_path / "whole", chosen)
    stopped(data, tmp_path / "parts", chosen, count, inputs=files)
    assert not (tmp_path / "parts" / "metrics.json").exists()
    run(files, tmp_path / "parts", chosen, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_resume_refuses_other_vectors(data, tmp_path):
    files = with_vectors(data, tmp_path, en=VECTORS)
    stopped(data, tmp_path / "run", settings(), 2, inputs=files)
    write_vectors(tmp_path / "en.vec", {**VECTORS, "anna": [0.0] * 6})
    with pytest.raises(UserError, match="en.vec has changed since the run began"):
        run(files, tmp_path / "run", resume=True)


def test_seeds(data, tmp_path):
    metrics = train(settings(train__max_steps=4), inputs(data), tmp_path / "runs", seeds=[1, 2], reporter=Quiet())
    assert len(metrics["test"]["es"]["f1"]["runs"]) == 2
    one, two = (parameters(tmp_path / "runs" / f"seed-{seed}") for seed in (1, 2))
    assert not np.array_equal(one[TABLE], two[TABLE]) and one.keys() == two.keys()


def test_a_seed_gives_the_same_run_again(data, tmp_path, plain):
    run(inputs(data), tmp_path / "run")
    assert_same_run(plain, tmp_path / "run")
    assert json.loads((plain / "model" / "config.json").read_text())["model_type"] == "bilstm-crf"


def long_file(path):
    """A short sentence, and one of 300 words with 60 names of two words."""
    rows = [("anna", "B-PER"), ("ben", "I-PER"), ("visited", "O"), ("the", "O"), (".", "O")] * 60
    path.write_text("paris\tB-LOC\n.\tO\n\n" + "".join(f"{word}\t{tag}\n" for word, tag in rows))
    return path


def test_long_sentences(data, tmp_path):
    long, reporter = long_file(tmp_path / "long.txt"), Quiet()
    files = inputs(data, source=[("en", long)], dev=[], test=[("en", long)])
    few = {"train__epochs": 1, "data__max_length": 32}
    window = run(files, tmp_path / "window", settings(**few), reporter=reporter)
    assert window["test"]["en"]["support"] == 61
    assert any("1 longer than the limit, split into windows, nothing cut" in m for m in reporter.messages)
    cut = run(files, tmp_path / "cut", settings(**few, data__on_long="truncate"), reporter=reporter)
    assert cut["test"]["en"]["support"] == 8                           # one, and those that begin in the first 32 words
    assert any("1 longer than the limit, 268 words cut" in m for m in reporter.messages)
    for changes, message in (({"data__on_long": "error"}, "long.txt:4: the sentence has 300 words, but data.max_length is 32; "),
                             ({"model__constrained_training": True}, "long.txt:4: the sentence has 300 words, data.max_length "
                              "is 32, and model.constrained_training needs whole sentences.*--set data.max_length=300$")):
        with pytest.raises(UserError, match=message):
            run(files, tmp_path / "error", settings(**few, **changes))
        assert not (tmp_path / "error").exists()
    whole = {**few, "data__max_length": 300}
    run(files, tmp_path / "whole", settings(**whole, model__constrained_training=True))
