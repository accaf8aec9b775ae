"""Mistakes a newcomer makes: each is one line that names the place and the cure, and nothing half-written stays."""
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minixl.cli.main import main
from tests.tiny import write_encoder, write_ner, write_topics

TINY = ("--device", "cpu", "--set", "data.max_length=32", "--set", "model.freeze=[]", "--set", "train.max_steps=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An encoder, and files for both kinds of recipe."""
    folder = tmp_path_factory.mktemp("mistakes")
    write_encoder(folder / "ENC")
    write_ner(folder / "en.txt", "en")
    write_ner(folder / "es.txt", "es")
    write_topics(folder / "en.tsv", "en")
    (folder / "latin.txt").write_bytes(b"ann\xe9\tB-PER\nparis\tB-LOC\n")
    return folder


@pytest.fixture
def train(minixl, data, tmp_path):
    """train("--set", ...) -> (code, the last line of stderr, whether the run folder was made)."""
    def call(*args, recipe="finetune-ner-cpu", source="en.txt", encoder=None, out=None):
        out = out or tmp_path / "run"
        code, _, err = minixl("train", recipe, "--encoder", encoder or data / "ENC", *TINY, "--source",
                              f"en={data / source}", *args, "--out", out)
        assert "Traceback" not in err
        return code, err.strip().splitlines()[-1], out.exists()
    return call


@pytest.fixture(scope="module")
def tagger(data):
    """A model folder."""
    argv, sys.argv = sys.argv, ["minixl", "train", "finetune-ner-cpu", "--encoder", str(data / "ENC"), *TINY, "--source",
                                f"en={data}/en.txt", "--test", f"es={data}/es.txt", "--out", str(data / "run")]
    try:
        main()
    finally:
        sys.argv = argv
    return data / "run" / "model"


@pytest.mark.parametrize(("setting", "said"), [
    ("model.dropout=1", "model.dropout: expected -1, or 0 to 0.99, got 1.0"),
    ("model.dropout=-2", "model.dropout: expected -1, or 0 to 0.99, got -2.0"),
    ("optim.beta1=1", "optim.beta1: expected less than 1, got 1.0"),
    ("optim.beta2=1", "optim.beta2: expected less than 1, got 1.0"),
    ("optim.lr=inf", "optim.lr: expected a finite number, got inf"),
    ("optim.clip=inf", "optim.clip: expected a finite number, got inf (limit on the norm of all gradients together; 0: no limit)"),
    ("optim.eps=nan", "optim.eps: expected a finite number, got nan"),
    ("optim.eps=0", "optim.eps: expected more than 0, got 0.0 (Adam's epsilon)"),
    ("model.freeze=*", "model.freeze: * leaves no parameter to train"),
    ("data.max_length=65", "65 word pieces are more than the encoder's 64 positions"),
])
def test_settings_out_of_range(train, setting, said):
    code, line, made = train("--set", setting)
    assert code == 1 and said in line and not made


def test_nothing_to_train(train):
    code, line, made = train("--set", "train.epochs=0", "--set", "train.max_steps=0")
    assert code == 1 and "train.epochs and train.max_steps are both 0" in line and not made


@pytest.mark.parametrize(("warmup", "steps", "said"), [("0.1", "5", "the gradient became"), ("0", "1", "scores became nan")])
def test_absurd_learning_rate(train, data, recwarn, warmup, steps, said):
    code, line, _ = train("--set", "optim.lr=1e30", "--set", f"optim.warmup={warmup}", "--set", f"train.max_steps={steps}",
                          "--test", f"es={data / 'es.txt'}")
    assert code == 1 and said in line and "learning rate (optim.lr" in line
    assert not recwarn.list                                            # no warnings of NumPy before it


def test_data_of_the_other_task(train):
    code, line, made = train(recipe="finetune-classification-cpu")
    assert (code, made) == (1, False)
    assert "en.txt:1: expected a label and a text on each line, found columns of words and tags in 'anna\\tB-PER'" in line
    code, line, made = train(source="en.tsv")
    assert (code, made) == (1, False) and "en.tsv:1: expected one word and its tag on each line, found a label" in line
    assert "classification for labelled texts" in line


def test_weights_that_are_not_finite(train, data, tmp_path):
    folder = shutil.copytree(data / "ENC", tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layer.0.output.dense.weight"))
    tensors[name][0, 0] = np.nan
    save_file(tensors, folder / "model.safetensors")
    code, line, made = train(encoder=folder)
    assert (code, made) == (1, False)
    assert "model.safetensors: bert.encoder.layer.0.output.dense.weight: expected finite weights, found NaN" in line


def test_out_that_cannot_be_a_folder(train, minixl, data, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    code, line, _ = train(out=file)
    assert code == 1 and line == f"Error: --out {file}: expected a folder, found a file; choose another name"
    code, line, _ = train("--seeds", "2", out=file)
    assert code == 1 and "expected a folder, found a file" in line
    code, line, made = train(out=file / "run")
    assert (code, made) == (1, False) and "the folder cannot be created (Not a directory); choose another" in line
    code, line, _ = train(out=data / "ENC")                            # in use, but by no run that could be continued
    assert code == 1 and line.endswith("the folder is in use; choose another")


def test_out_of_a_run_killed_before_it_wrote_anything(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    assert train()[0] == 0


@pytest.mark.parametrize(("text", "said"), [("", "out of memory; "), ("Unable to allocate 3 GiB", "(Unable to allocate 3 GiB); ")])
def test_out_of_memory(train, monkeypatch, text, said):
    def none_left(*_, **__):
        raise MemoryError(text)
    monkeypatch.setattr("minixl.run.job.prepare", none_left)
    code, line, made = train()
    assert (code, made) == (1, False) and said in line and line.endswith("try a smaller train.batch_size or train.accumulate=2")


def test_full_disk(train, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    with monkeypatch.context() as patched:
        patched.setattr("minixl.training.checkpoint.save_file", full)
        code, line, _ = train()
    assert code == 1 and "checkpoint/state-1.safetensors: cannot be written (I/O error: No space left" in line
    assert f"minixl train --resume --out {tmp_path / 'run'}" in line
    assert not list((tmp_path / "run" / "checkpoint").glob("*"))


def test_full_disk_at_the_model(train, minixl, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    with monkeypatch.context() as patched:
        patched.setattr("minixl.weights.folder.save_file", full)
        code, line, _ = train()
    assert code == 1 and "cannot be written" in line and "No space left" in line
    assert not (tmp_path / "run" / "model").exists()
    assert minixl("train", "--resume", "--out", tmp_path / "run")[0] == 0


@pytest.mark.parametrize("content", ["x", "seed = 1\n", "seed = 1\n[inputs]\nencoder = 3\n"])
def test_resume_with_a_damaged_config(minixl, tmp_path, content):
    (tmp_path / "config.toml").write_text(content)
    code, _, err = minixl("train", "--resume", "--out", tmp_path)
    assert code == 1 and "config.toml: expected the settings of a run" in err and "Traceback" not in err


def test_resume_with_some_of_the_inputs(minixl, data, tmp_path):
    code, _, err = minixl("train", "finetune-ner-cpu", "--encoder", data / "ENC", "--resume", "--out", tmp_path)
    assert code == 2 and "leave out --encoder, --source" in err and "quickstart" not in err


def test_encoding_is_named_as_the_command_has_it(minixl, tagger, data, train):
    cure = "latin.txt:1: expected utf-8, found byte 0xe9 after 'ann'; give the file's encoding, for example "
    for call in (["predict", tagger, data / "latin.txt"], ["evaluate", tagger, f"es={data}/latin.txt"],
                 ["data", "stats", "ner", f"es={data}/latin.txt"]):
        code, _, err = minixl(*call)
        assert code == 1 and err.endswith(cure + "--encoding latin-1\n")
    assert train(source="latin.txt")[1].endswith(cure + "--set data.encoding=latin-1")
    code, _, err = minixl("predict", tagger, "--encoding", "utf-9", stdin=b"anna\n")
    assert code == 1 and err.startswith("Error: --encoding: expected an encoding such as utf-8")


def test_evaluate_a_file_twice(minixl, tagger, data):
    code, out, err = minixl("evaluate", tagger, f"es={data}/es.txt", f"es={data}/es.txt")
    assert (code, out) == (1, "") and "/es.txt: given twice; each of its texts would count double" in err


def test_standard_input(minixl, tagger):
    for form in ("text", "jsonl", "conll"):
        assert minixl("predict", tagger, "--format", form) == (0, "", "")           # nothing in, nothing out
    code, out, _ = minixl("predict", tagger, "--format", "jsonl", stdin=b"\xef\xbb\xbfanna lives .\r\n")
    assert code == 0 and out.startswith('{"text": "anna lives .", "words": [[0, 4]')  # no byte order mark in the text
    code, out, _ = minixl("predict", tagger, "--encoding", "utf-16", stdin="anna lives\nben\n".encode("utf-16"))
    assert code == 0 and len(out.splitlines()) == 2
    code, _, err = minixl("predict", tagger, stdin=b"anna\nann\xe9\n")
    assert code == 1 and err.startswith("Error: standard input:2: expected utf-8, found byte 0xe9 after 'ann'")


def test_a_text_file_in_place_of_the_recipe(minixl, data):
    code, _, err = minixl("train", data / "en.txt")
    assert code == 1 and err.endswith("expected a recipe, found another file; name a recipe first, and a file of text with "
                                      f"--source LANGUAGE={data}/en.txt\n")


def test_the_model_comes_before_the_files(minixl, data):
    code, _, err = minixl("evaluate", f"es={data}/es.txt", data / "run")
    assert code == 2 and err.endswith(f"Error: es={data}/es.txt: expected the model folder first, then LANGUAGE=FILE.\n")


@pytest.mark.parametrize("arguments, said", [
    (["train", "en=train.txt"], "expected a recipe first; name a file of text with --source en=train.txt"),
    (["train", "runs/nowhere"], "expected a recipe, a .toml file or the folder of a run, found no such file or folder"),
    (["train", "--resume", "--out", "nowhere"], "nowhere holds no run to continue; name the run's folder with --out"),
    (["train", "finetune-ner", "--show", "--set", "perturbation.norm=1.0"],
     "perturbation.norm: expected one of sequence, token, table, got 1.0"),
], ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "")
def test_what_was_meant_is_said(minixl, arguments, said):
    code, _, err = minixl(*arguments)
    assert code == 1 and said in err


def test_the_order_of_predict_and_the_task_of_the_model(minixl, data):
    code, _, err = minixl("predict", data / "es.txt", data / "run")
    assert code == 2 and err.endswith(f"Error: {data}/es.txt: expected the model folder first, then FILE.\n")
    code, _, err = minixl("evaluate", data / "run" / "model", f"en={data}/en.tsv")
    assert code == 1 and err.endswith("; this model is for the task ner\n") and "use the task" not in err
