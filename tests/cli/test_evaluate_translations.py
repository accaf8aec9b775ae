"""minixl evaluate --translations and --probe: tables, JSON, both kinds of folder, one line per mistake."""
import io
import json
import sys
import types
from contextlib import contextmanager

import numpy as np
import pytest

from minixl.building.folder import ModelInfo, save_model
from minixl.cli.options import bar
from minixl.evaluation.translations import load_encoder, sentence_vectors, translation_scores
from minixl.models.transformer import Transformer
from minixl.prediction import Predictor
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer
from tests.tiny import write_encoder, write_ner, write_topics

EN = ["anna visited paris .", "ben lives in madrid .", "the visit", "anna lives .", "ben visited the madrid", "paris"]
ES = ["anna visita paris .", "ben vive en madrid .", "la visita", "anna vive .", "ben visita madrid", "paris"]


def save(folder, encoder, task, labels, pooling, **more):
    """Save a model folder with the encoder's weights and a head of zeros."""
    config = read_config(encoder)
    model = Transformer(config, labels, pooling)
    load_parameters(encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")})
    info = ModelInfo(task=task, labels=labels, scheme="IOB2" if task == "ner" else "none", pooling=pooling,
                     **{"max_length": 32} | more)
    save_model(folder, model, Tokenizer(encoder, config.vocab_size), info, config.raw)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An encoder, a classifier and a tagger on it, translations in every form."""
    folder = tmp_path_factory.mktemp("translations")
    write_encoder(folder / "encoder")
    save(folder / "classifier", folder / "encoder", "classification", ["home", "travel"], "mean")
    save(folder / "tagger", folder / "encoder", "ner", ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], "token")
    write_topics(folder / "topics.tsv", "en")
    write_ner(folder / "ner.txt", "en")
    (folder / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in zip(EN, ES, strict=True)))
    (folder / "en.txt").write_text("\n".join(EN) + "\n")
    (folder / "es.tsv").write_text("".join(f"topic\t{text}\n" for text in ES))
    return folder


def figures(out):
    """Parse the JSON of a command that printed nothing else."""
    return json.loads(out)


def test_an_untrained_model_scores_as_its_encoder(minixl, data):
    options = ("--translations", f"en-es={data}/pairs.tsv", "--json")
    results = []
    for folder in ("encoder", "classifier", "tagger"):
        code, out, err = minixl("evaluate", data / folder, *options)
        assert code == 0 and err.splitlines() == ["en-es en: 6 inputs, 33 pieces", "en-es es: 6 inputs, 41 pieces"], err
        results.append(figures(out))
    assert results[0] == results[1] == results[2] and set(results[0]) == {"translations"}
    found = results[0]["translations"]["en-es"]
    assert set(found) == {"pairs", "translations", "random", "precision_forward", "precision_backward"}
    assert found["pairs"] == 6 and -1 <= found["random"] < found["translations"] <= 1
    code, out, _ = minixl("evaluate", data / "encoder", "--translations", f"en-es={data}/en.txt,{data}/es.tsv", "--json")
    assert figures(out) == results[0]                                  # two files give the same result as one


def test_the_figures_are_those_of_the_functions(minixl, data):
    from minixl.data.examples import Document
    from minixl.evaluation.translations import encode_texts
    bert, tokenizer = load_encoder(data / "encoder")
    vectors = [sentence_vectors(bert, encode_texts([Document(t, None, 1) for t in side], tokenizer, bert)) for side in (EN, ES)]
    out = minixl("evaluate", data / "encoder", "--translations", f"en-es={data}/pairs.tsv", "--json")[1]
    assert figures(out)["translations"]["en-es"] == translation_scores(*vectors)._asdict()


def test_tables(minixl, data):
    code, out, err = minixl("evaluate", data / "classifier", f"en={data}/topics.tsv", "--translations", f"en-es={data}/pairs.tsv",
                            "--translations", f"es-en={data}/es.tsv,{data}/en.txt", "--probe", f"en-es={data}/pairs.tsv")
    assert code == 0
    labelled, classes, confusion, translations, probe = (block.splitlines() for block in out.split("\n\n"))
    assert labelled[0].split() == ["language", "accuracy", "macro", "f1", "cal.", "error", "items"]
    assert [table[1].split()[0] for table in (labelled, classes)] == ["en", "en"] and confusion[0].startswith("en: gold")
    assert translations[0].split() == ["pair", "pairs", "translations", "random", "forward", "backward"]
    there, back = translations[1].split(), translations[2].split()
    assert (there[0], back[0]) == ("en-es", "es-en") and there[1] == "6"
    assert there[2] == back[2] and there[4:] == back[:3:-1]            # the same pairs the other way round
    assert probe[0].split() == ["pair", "level", "accuracy", "source", "target", "tested"]
    assert [row.split()[:2] for row in probe[1:]] == [["en-es", "sentence"], ["en-es", "token"]]
    assert probe[1].split()[-1] == "6"                                 # three held-out texts of each language
    assert "median cosine" in err and "language discriminator" in err and "Error" not in err


def test_labelled_files_and_both_studies_as_json(minixl, data):
    code, out, _ = minixl("evaluate", data / "tagger", f"en={data}/ner.txt", "--translations", f"en-es={data}/pairs.tsv",
                          "--probe", f"en-es={data}/en.txt,{data}/es.tsv", "--json")
    found = figures(out)
    assert code == 0 and set(found) == {"en", "translations", "probe"} and "f1" in found["en"]
    for level, tested in (("sentence", 6), ("token", None)):
        row = found["probe"]["en-es"][level]
        assert set(row) == {"accuracy", "chance", "recall_source", "recall_target", "trained", "tested"}
        assert row["chance"] == 0.5 and row["trained"] == 3 and (tested is None or row["tested"] == tested)
        assert row["accuracy"] == (row["recall_source"] + row["recall_target"]) / 2
    again = figures(minixl("evaluate", data / "encoder", "--probe", f"en-es={data}/en.txt,{data}/es.tsv", "--json")[1])
    assert again == {"probe": found["probe"]}


def test_the_probe_needs_no_translations_and_finds_other_letters(minixl, data, tmp_path):
    rng = np.random.default_rng(0)
    for name, letters, count in (("x", "abcdefgh", 40), ("y", "qrstuvwx", 50)):
        (tmp_path / name).write_text("\n".join("".join(rng.choice(list(letters), 6)) for _ in range(count)))
    code, out, _ = minixl("evaluate", data / "encoder", "--probe", f"x-y={tmp_path}/x,{tmp_path}/y", "--json")
    assert code == 0
    for row in figures(out)["probe"]["x-y"].values():
        assert row["trained"] == 20 and row["accuracy"] > 0.7          # [CLS] and [SEP] of a random encoder say little
    code, out, err = minixl("evaluate", data / "encoder", "--probe", f"x-y={tmp_path}/x,{tmp_path}/y", "--limit", 8, "--json")
    assert figures(out)["probe"]["x-y"]["sentence"]["trained"] == 4 and "x-y x: 8 inputs" in err


def columns(texts, divider):
    """The texts as sentences of words and tags."""
    return "".join("".join(f"{word}{divider}{'B-PER' if word in ('anna', 'ben') else 'O'}\n" for word in text.split()) + "\n"
                   for text in texts)


@pytest.mark.parametrize("divider", ["\t", " "])
@pytest.mark.parametrize("folder", ["encoder", "tagger", "classifier"])
def test_the_texts_of_column_files_are_their_sentences(minixl, data, tmp_path, divider, folder):
    for name, texts in (("en", EN), ("es", ES)):
        (tmp_path / f"{name}.conll").write_text(columns(texts, divider))
        (tmp_path / f"{name}.txt").write_text("\n".join(texts))
    for limit, inputs in ((0, 6), (5, 5)):                             # the limit counts sentences, not lines
        results = []
        for ending in ("conll", "txt"):
            files = f"en-es={tmp_path}/en.{ending},{tmp_path}/es.{ending}"
            code, out, err = minixl("evaluate", data / folder, "--probe", files, "--translations", files, "--limit", limit,
                                    "--json")
            assert code == 0 and f"en-es es: {inputs} inputs" in err, err
            results.append((figures(out), err))
        assert results[0] == results[1]
    code, out, err = minixl("evaluate", data / folder, "--translations", f"en-es={tmp_path}/en.conll")
    assert (code, out) == (1, "") and "found " in err and "FILE,FILE" in err and len(err.splitlines()) == 1


def test_the_probe_is_scored_on_the_test_files(minixl, data, tmp_path):
    """With the languages of the test files exchanged, all results are wrong."""
    rng = np.random.default_rng(0)
    for name, letters, count in (("x", "abcdefgh", 40), ("y", "qrstuvwx", 50), ("z", "abcdefgh", 20)):
        (tmp_path / name).write_text("\n".join("".join(rng.choice(list(letters), 6)) for _ in range(count)))
    x, y, z = (tmp_path / name for name in "xyz")
    right, wrong = (minixl("evaluate", data / "encoder", "--probe", f"x-y={x},{y},{test}", "--json")
                    for test in (f"{z},{y}", f"{y},{z}"))
    assert [line.rsplit(",", 1)[0] for line in right[2].splitlines()] == [
        "x-y x: 40 inputs", "x-y y: 50 inputs", "x-y test x: 20 inputs", "x-y test y: 50 inputs"]
    for level in ("sentence", "token"):
        found, other = figures(right[1])["probe"]["x-y"][level], figures(wrong[1])["probe"]["x-y"][level]
        assert found["trained"] == 40 and found["accuracy"] > 0.7 and other["accuracy"] < 0.3
        assert found["recall_source"] == pytest.approx(1 - other["recall_target"])
    assert figures(right[1])["probe"]["x-y"]["sentence"]["tested"] == 70
    code, _, err = minixl("evaluate", data / "encoder", "--probe", f"x-y={x},{y},{z}")
    assert code == 1 and "SOURCE-TARGET=FILE,FILE (to train on, to test on: FILE,FILE,TEST,TEST)" in err


def test_a_bar_where_there_is_a_terminal(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return self.terminal

    for terminal in (True, False):
        screen = Screen()
        screen.terminal = terminal
        monkeypatch.setattr(sys, "stderr", screen)
        with bar(30, "score en") as progress:
            assert (progress is not None) == terminal
            if progress:
                progress(20)
                progress(10)
        shown = screen.getvalue()
        assert ("score en" in shown and "30/30" in shown and shown.endswith("\n")) if terminal else shown == ""


@pytest.mark.parametrize("args", [["en={}/topics.tsv"], ["--translations", "en-es={}/pairs.tsv"],
                                  ["--probe", "en-es={0}/en.txt,{0}/es.tsv"],
                                  ["--probe", "en-es={0}/en.txt,{0}/es.tsv,{0}/en.txt,{0}/es.tsv"]])
def test_a_bar_is_full_in_the_end(minixl, data, monkeypatch, args):
    """Progress is reported for every piece once."""
    seen = []

    @contextmanager
    def count(total, what):
        done = []
        yield done.append
        seen.append((total, sum(done)))
    monkeypatch.setattr("minixl.cli.evaluate.bar", count)
    assert minixl("evaluate", data / "classifier", *(arg.format(data) for arg in args))[0] == 0
    assert len(seen) == 1 and seen[0][0] == seen[0][1] > 20


def test_fixes_are_those_of_this_command(minixl, data, tmp_path):
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    save(tmp_path / "strict", data / "encoder", "ner", labels, "token", max_length=8, on_long="error")
    mixed = "anna\tB-PER\nben\tS-PER\n.\tO\n\nparis\tI-LOC\n"
    for content, model, said in [
            ("anna\tO\n" * 9, "strict", "the sentence has 11 word pieces, but data.max_length is 8; split it; a model that was"),
            (mixed, data / "tagger", "or read it as conlleval does with --scheme IOBES"),
            ("anna\tNOUN\nben\tVERB\n", data / "tagger", "use the task pos for part-of-speech tags"),
            ("anna\tB-PER\nlives\tVERB\n", data / "tagger", "use the task pos for plain tags")]:
        (tmp_path / "en.txt").write_text(content)
        code, out, err = minixl("evaluate", tmp_path / model, f"en={tmp_path}/en.txt")
        of_model = "this model is for the task ner" if "use the task" in said else said
        assert (code, out) == (1, "") and of_model in err and len(err.splitlines()) == 1, err
        if model != "strict":
            code, out, err = minixl("data", "stats", "ner", f"en={tmp_path}/en.txt")
            assert (code, out) == (1, "") and said in err and len(err.splitlines()) == 1 and "--set" not in err, err
    (tmp_path / "en.txt").write_text(mixed)
    code, out, _ = minixl("data", "stats", "ner", f"en={tmp_path}/en.txt", "--scheme", "IOBES")
    assert code == 0 and out == ("en: 2 inputs, 4 words; LOC 1, PER 2; tags that broke the scheme and were repaired: "
                                 "2\n")


def test_skipped_pairs_are_reported(minixl, data, tmp_path):
    (tmp_path / "p.tsv").write_text("anna\tanna\nben\t\nthe\tla\n")
    code, _, err = minixl("evaluate", data / "encoder", "--translations", f"en-es={tmp_path}/p.tsv")
    assert code == 0 and err.startswith("en-es: skipped 1 pair with an empty side\nen-es en: 2 inputs")


@pytest.mark.parametrize(("content", "args", "said"), [
    ({"a": "x\ny\nz\n", "b": "x\ny\n"}, ["--translations", "en-es=a,b"],
     "b: expected as many texts as a, 3, found 2; text n must be the translation of text n"),
    ({"p": "a\tb\nc d\n"}, ["--translations", "en-es=p"],
     "p:2: expected source and target separated by a tab, found no tab in 'c d'"),
    ({"p": "a\tb\nc d\n"}, ["--probe", "en-es=p"], "p:2: expected source and target separated by a tab"),
    ({"p": "\n"}, ["--translations", "en-es=p"], "p: expected a text, a tab and its translation on each line, found no text"),
    ({"p": "a\tb\n"}, ["--translations", "en-es=p"], "p: expected at least 2 pairs of texts, found 1; give a larger file"),
    ({"p": "a\tb\nc\td\n"}, ["--translations", "en-es=p", "--limit", "1"], "at least 2 pairs of texts, found 1; raise --limit"),
    ({"p": "a\tb\nc\td\n"}, ["--probe", "en-es=p"], "p: expected at least 4 texts of each language, found 2"),
    ({}, ["--translations", "en-es=none.tsv"], "none.tsv: expected a file, found nothing"),
    ({}, ["--translations", "en=p"], "--translations en=p: expected SOURCE-TARGET=FILE or SOURCE-TARGET=FILE,FILE"),
    ({}, ["--probe", "en-es"], "--probe en-es: expected SOURCE-TARGET=FILE or SOURCE-TARGET=FILE,FILE"),
    ({}, ["--probe", "en-es=a", "--probe", "en-es=b"], "--probe en-es=...: given twice"),
    ({}, ["--translations", "en-en=a"], "--translations en-en=a: expected two languages, found en twice"),
    ({"p": "travel\tanna goes\nhome\tben lives\n" * 10}, ["--translations", "en-es=p"], "found labels such as 'home' in column 1"),
    ({"p": b"caf\xe9\tb\n"}, ["--translations", "en-es=p"], "for example --encoding latin-1"),
    ({}, ["en=topics.tsv", "--translations", "en-es=p"], "expected a model folder with minixl.json"),
])
def test_mistakes_are_one_line(minixl, data, tmp_path, monkeypatch, content, args, said):
    monkeypatch.chdir(tmp_path)
    for name, text in content.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = minixl("evaluate", data / "encoder", *args)
    assert (code, out) == (1, "") and err.startswith("Error: ") and len(err.splitlines()) == 1 and said in err


def test_no_such_folder(minixl, tmp_path, data):
    code, out, err = minixl("evaluate", tmp_path / "none", "--translations", f"en-es={data}/pairs.tsv")
    assert (code, out) == (1, "") and "none: expected a model folder with minixl.json, found no such folder" in err
    assert len(err.splitlines()) == 1


def test_a_model_that_is_not_a_transformer(minixl, data, monkeypatch):
    stub = types.SimpleNamespace(model=types.SimpleNamespace(family="bilstm-crf"), info=None, tokenizer=None)
    monkeypatch.setattr(Predictor, "load", lambda folder, device: stub)
    for option in ("--translations", "--probe"):
        code, out, err = minixl("evaluate", "crf", option, f"en-es={data}/pairs.tsv")
        assert (code, out) == (1, "") and len(err.splitlines()) == 1
        assert err.startswith("Error: crf: --translations and --probe compare the hidden states of a transformer: expected one, "
                              "found a bilstm-crf model")


def test_the_old_name_of_an_option_gives_the_new_one(minixl, data):
    code, out, err = minixl("evaluate", data / "encoder", "--parallel", f"en-es={data}/pairs.tsv")
    assert (code, out) == (2, "") and err.endswith("Error: --parallel is now called --translations.\n")
    assert "--parallel" not in minixl("evaluate", "--help")[1]


def test_nothing_to_evaluate_is_wrong_usage(minixl, data):
    code, out, err = minixl("evaluate", data / "classifier")
    assert (code, out) == (2, "") and "Nothing to evaluate: give LANGUAGE=FILE, --translations or --probe." in err
