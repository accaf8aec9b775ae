"""A BiLSTM-CRF through the command line: train, stop and resume, evaluate, predict, and one line for every mistake."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from minixl.data.conll import read_conll
from tests.tiny import write_encoder, write_ner, write_pos, write_topics, write_vectors

SMALL = [f"--set=model.{name}" for name in ("word_size=10", "word_hidden=8", "dense_size=8", "char_size=5", "char_hidden=4")]
LEARN = [*SMALL, "--set=optim.name=adam", "--set=optim.lr=0.02", "--set=train.batch_size=4", "--set=optim.schedule=constant"]
NER, POS = ["bilstm-crf-ner", *LEARN], ["bilstm-crf-pos", *LEARN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, and run folders of an entity tagger with vectors and a part-of-speech tagger."""
    folder = tmp_path_factory.mktemp("bilstm")
    for language in ("en", "es"):
        write_ner(folder / f"{language}.txt", language, repeat=3)
        write_pos(folder / f"{language}.pos", language, repeat=3)
    write_topics(folder / "en.tsv", "en", repeat=3)
    write_encoder(folder / "encoder")
    write_vectors(folder / "en.vec", {"anna": [1, 0, 0], "paris": [0, 1, 0], "visited": [0, 0, 1]})
    write_vectors(folder / "es.vec", {"visita": [0, 0, 1, 5]})
    for recipe, suffix, more in ((NER, "txt", [f"--vectors=en={folder}/en.vec"]), (POS, "pos", [])):
        subprocess.run([sys.executable, "-m", "minixl", "train", *recipe, *more, "--set=train.epochs=10",
                        f"--source=en={folder}/en.{suffix}", f"--dev=en={folder}/en.{suffix}", f"--test=es={folder}/es.{suffix}",
                        "--out", str(folder / suffix)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("suffix, figure", [("txt", "f1"), ("pos", "accuracy")])
def test_evaluate_scores_the_saved_model_as_the_run_did(minixl, folder, suffix, figure):
    code, out, err = minixl("evaluate", folder / suffix / "model", f"es={folder}/es.{suffix}", "--json")
    metrics = json.loads((folder / suffix / "metrics.json").read_text())
    assert code == 0 and json.loads(out)["es"] == metrics["test"]["es"] and metrics["test"]["es"][figure] > 0.5
    unknown = {"txt": "72.7", "pos": "27.3"}[suffix]                   # not in the vectors; not in the training data
    assert err.splitlines()[0] == f"es: 9 inputs, 33 words, {unknown} % of them unknown"
    code, out, _ = minixl("evaluate", folder / suffix / "model", f"es={folder}/es.{suffix}")
    assert code == 0 and out.splitlines()[0].split()[0] == "language"


def test_train_says_how_many_words_are_unknown(minixl, folder, tmp_path):
    code, out, err = minixl("train", *NER, f"--source=en={folder}/en.txt", f"--test=es={folder}/es.txt",
                            f"--vectors=en={folder}/en.vec", "--set=train.max_steps=2", "--seeds=2", "--out", tmp_path / "runs")
    assert code == 0 and "±" in out, err
    assert "vectors en: 30.8 % of 78 tokens found" in err and "test es: 9 inputs, 33 words, 72.7 % of them unknown" in err
    assert (tmp_path / "runs" / "seed-2" / "model" / "lexicon.json").is_file()


def test_predict_says_which_languages_it_knows(minixl, folder, tmp_path):
    write_vectors(tmp_path / "es.vec", {"visita": [0, 0, 1]})
    code, _, err = minixl("train", *NER, f"--source=en={folder}/en.txt", f"--vectors=en={folder}/en.vec",
                          f"--vectors=es={tmp_path}/es.vec", "--set=train.max_steps=1", "--out", tmp_path / "run")
    assert code == 0, err
    for language, warned in (("es", False), ("ES", True)):
        code, out, err = minixl("predict", tmp_path / "run" / "model", "--language", language, stdin="anna visita paris .\n")
        assert code == 0 and out and (f"--language {language}: the model has word vectors of en, es; words are" in err) == warned


def test_predict_jsonl(minixl, folder):
    text = "anna visited paris .\n\n¡Ünseen 😀 Wörter!\n" + "anna visited paris . " * 125 + "\n"
    code, out, _ = minixl("predict", folder / "txt" / "model", "--format", "jsonl", stdin=text)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["text"] for row in rows] == text.split("\n")[:-1]
    assert rows[1] == {"text": "", "words": [], "tags": [], "confidences": [], "entities": []}
    assert rows[0]["words"] == [[0, 4], [5, 12], [13, 18], [19, 20]] and rows[0]["tags"] == ["B-PER", "O", "B-LOC", "O"]
    assert len(rows[3]["tags"]) == len(rows[3]["words"]) == 500 and len(rows[3]["entities"]) >= 200
    for row in rows:
        for entity in row.get("entities", []):
            assert row["text"][entity["start"]:entity["end"]] == entity["text"] and 0 < entity["confidence"] <= 1
    code, out, _ = minixl("predict", folder / "pos" / "model", "--format", "jsonl", stdin="anna lives .\n")
    row = json.loads(out)
    assert row["tags"] == ["PROPN", "VERB", "PUNCT"] and all(0 < p <= 1 for p in row["confidences"]) and "entities" not in row


def test_predict_text_and_columns(minixl, folder):
    code, out, _ = minixl("predict", folder / "txt" / "model", stdin="anna visited paris .\n\n")
    assert code == 0 and out.startswith("[anna PER 0.") and "] visited [paris LOC 0." in out and out.endswith("\n\n")
    code, out, _ = minixl("predict", folder / "pos" / "model", stdin="anna lives .\n")
    assert (code, out) == (0, "anna/PROPN lives/VERB ./PUNCT\n")
    code, out, _ = minixl("predict", folder / "txt" / "model", folder / "en.txt", "--format", "conll")
    before = (folder / "en.txt").read_text()
    assert code == 0 and [line.rpartition("\t")[0] for line in out.splitlines()] == before.splitlines()
    tags = {line.rpartition("\t")[2] for line in out.splitlines() if line}
    assert tags <= {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"} and len(tags) >= 3       # IOB2, whatever the model works in


def test_python_api(folder):
    import minixl
    model = minixl.load(folder / "txt" / "model")
    assert model.info.scheme == "IOBES" and model.model.family == "bilstm-crf"
    result, = model.predict(["anna visited paris ."])
    assert [entity["type"] for entity in result["entities"]] == ["PER", "LOC"]
    answer, = model.tag([["anna", "visited"]])
    assert answer.tags[0] == "B-PER" and answer.confidences.shape == (2,)


def test_weights_show(minixl, folder):
    code, out, _ = minixl("weights", "show", folder / "txt" / "model")
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()[1:-1]}
    assert code == 0 and rows["crf.transitions"] == "9x9" and rows["word_embeddings.weight"] == "4x3"


def test_stop_and_resume(minixl, folder, tmp_path):
    """Interrupted as by Ctrl-C, then continued with --out alone."""
    call = ["train", *NER, f"--source=en={folder}/en.txt", f"--vectors=en={folder}/en.vec", f"--test=es={folder}/es.txt",
            "--set=train.epochs=60"]
    process = subprocess.Popen([sys.executable, "-m", "minixl", *map(str, call), "--out", tmp_path / "parts"],
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    log = tmp_path / "parts" / "log.jsonl"
    while process.poll() is None and not (log.is_file() and log.stat().st_size):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and f"minixl train --resume --out {tmp_path / 'parts'}" in err
    code, out, err = minixl("train", "--resume", "--out", tmp_path / "parts")
    assert code == 0 and "continuing at step" in err
    assert minixl(*call, "--out", tmp_path / "whole")[0] == 0
    for name in ("model/model.safetensors", "model/lexicon.json", "model/minixl.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def lines(*sentences):
    return "\n".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in sentences)


FILES = {
    "long.txt": lines([("anna", "B-PER")], [("visited", "O")] * 300),
    "empty.txt": "anna\tB-PER\n \tO\nben\tO\n",
    "mixed.txt": lines([("anna", "B-PER"), ("ben", "E-PER")], [("paris", "B-LOC"), (".", "O")]),
    "half.txt": lines([("anna", "B-PER"), ("ben", "PER")]),
    "new.txt": lines([("anna", "B-PER")], [("it", "O"), ("paris", "B-GEO")]),
    "new.pos": lines([("anna", "PROPN")], [("it", "PRON")]),
    "one.txt": lines([("anna", "O")], [("it", "O")]),
    "cut.vec": "2 3\nanna 1 2 3\nparis 1 2\n",
    "nan.vec": "anna 1 2 3\nparis 1 nan 3\n",
}
MISTAKES = {
    "long": (["--source=en=long.txt", "--set=data.on_long=error"],
             "long.txt:3: the sentence has 300 words, but data.max_length is 250; split it into windows with --set data.on_long="),
    "long test": (["--test=es=long.txt", "--set=data.on_long=error"], "long.txt:3: the sentence has 300 words"),
    "long, constrained": (["--source=en=long.txt", "--set=model.constrained_training=true"], "--set data.max_length=300"),
    "no word": (["--source=en=empty.txt"], "empty.txt:2: expected a word in column 1, found nothing; add the word or make"),
    "mixed schemes": (["--source=en=mixed.txt"], "mixed.txt:4: expected IOBES tags like E-PER at mixed.txt:2, found 'B-LOC'"),
    "mixed test file": (["--test=es=mixed.txt"], "mixed.txt:4: expected IOBES tags"),
    "plain and span tags": (["--source=en=half.txt"], "half.txt:2: expected a span tag such as B-PER (half.txt:1), found 'PER'"),
    "tag not in training": (["--test=es=new.txt"],
                            "new.txt:4: expected one of the tags O, B-LOC, I-LOC, B-PER, I-PER, found 'B-GEO'"),
    "dev tag not in training": (["--dev=en=new.txt"], "new.txt:4: expected one of the tags"),
    "one label": (["--source=en=one.txt"], "one.txt: expected at least two different labels, found only O"),
    "vectors cut": (["--vectors=en=cut.vec"], "cut.vec:3: expected 3 numbers (as the header on line 1), found 2; the file is"),
    "vectors not numbers": (["--vectors=en=nan.vec"], "nan.vec:2: expected 3 finite float32 numbers"),
    "vectors of two sizes": (["--vectors=en=en.vec", "--vectors=es=es.vec"],
                             "--vectors es=es.vec: expected vectors of 3 numbers as in en.vec, found 4; the files of a run must"),
    "no vectors": (["--vectors=en=none.vec"], "none.vec: expected a file, found nothing"),
    "a folder": (["--vectors=en=."], "expected a file, found a directory"),
    "vectors twice": (["--vectors=en=en.vec", "--vectors=en=es.vec"], "--vectors en=...: given twice; expected one file"),
    "encoder": (["--encoder=encoder"], "--encoder encoder: a bilstm-crf uses word vectors (--vectors), not an encoder; leave it"),
    "classification": (["--set=task=classification", "--source=en=en.tsv"],
                       "model.type: a bilstm-crf tags words, which does not fit task classification; use a transformer"),
    "adversary": (["--set=method=language-adversarial", "--set=adversary.level=token"], "bilstm-crf"),
}


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """The data under short names in the current folder."""
    for name in ("en.txt", "en.tsv", "en.pos", "es.txt", "en.vec", "es.vec"):
        shutil.copy(folder / name, tmp_path / name)
    shutil.copytree(folder / "encoder", tmp_path / "encoder")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(code, out, err):
    assert code == 1 and out == "" and err.startswith("Error: ") and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(minixl, here, name):
    given, message = MISTAKES[name]
    before = sorted(here.iterdir())
    source = [] if any(option.startswith("--source") for option in given) else ["--source=en=en.txt"]
    assert message in one_line(*minixl("train", *NER, *source, *given, "--out", "run"))
    assert sorted(here.iterdir()) == before


def test_pos_tags_that_training_does_not_have(minixl, here):
    err = one_line(*minixl("train", *POS, "--source=en=en.pos", "--test=en=new.pos", "--out", "run"))
    assert "new.pos:3: expected one of the tags ADP, DET, PROPN, PUNCT, VERB, found 'PRON' for the word 'it'" in err
    assert not (here / "run").exists()


def test_vectors_for_a_transformer(minixl, here):
    err = one_line(*minixl("train", "finetune-ner-cpu", "--encoder=encoder", "--source=en=en.txt", "--vectors=en=en.vec", "--out",
                           "run"))
    assert "--vectors: a transformer has its own embeddings; leave this option out, or use a bilstm-crf recipe" in err
    assert not (here / "run").exists()


def test_a_damaged_model_folder(minixl, folder, tmp_path):
    model = shutil.copytree(folder / "txt" / "model", tmp_path / "model")
    (model / "lexicon.json").unlink()
    for call in (["predict", model], ["evaluate", model, f"es={folder}/es.txt"]):
        assert "lexicon.json: expected the lexicon of a bilstm-crf model, found none" in one_line(*minixl(*call, stdin="anna\n"))


def test_a_long_line_is_named_where_it_is_an_error(minixl, folder, here):
    model = shutil.copytree(folder / "txt" / "model", here / "model")
    info = json.loads((model / "minixl.json").read_text())
    (model / "minixl.json").write_text(json.dumps({**info, "on_long": "error"}))
    said = "the sentence has 300 words, but data.max_length is 250; split it; a model that was trained with"
    assert f"standard input:3: {said}" in minixl("predict", model, stdin="anna\n\n" + "anna " * 300)[2]
    (here / "texts").write_text("anna\n" * 300 + "\n" + "anna " * 300 + "\n")
    assert f"texts:302: {said}" in minixl("predict", model, "texts")[2]
    assert f"long.txt:3: {said}" in one_line(*minixl("predict", model, "long.txt", "--format", "conll"))


def test_schemes_go_in_and_iob2_comes_out(minixl, folder, tmp_path):
    """Trained on IOB1, worked in IOBES, read back as IOB2."""
    (tmp_path / "en.txt").write_text((folder / "en.txt").read_text().replace("\tB-", "\tI-"))      # no name follows its like
    assert read_conll(tmp_path / "en.txt").file_scheme == "IOB1"
    code, _, err = minixl("train", *NER, f"--source=en={tmp_path}/en.txt", "--set=train.epochs=12", "--out", tmp_path / "run")
    assert code == 0, err
    assert json.loads((tmp_path / "run" / "model" / "minixl.json").read_text())["scheme"] == "IOBES"
    code, out, _ = minixl("predict", tmp_path / "run" / "model", tmp_path / "en.txt", "--format", "conll")
    tags = [line.split("\t")[2] for line in out.splitlines() if line]
    gold = [tag for s in read_conll(folder / "en.txt").sentences for tag in s.tags]
    assert sum(a == b for a, b in zip(tags, gold, strict=True)) / len(gold) > 0.9
