"""The command line in-process: output, exit codes, and one clear line for each mistake."""
import json
import subprocess
import sys
import time

import pytest

from tests.tiny import write_encoder, write_ner, write_topics


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data, an encoder, and a tagger and a classifier trained on it."""
    folder = tmp_path_factory.mktemp("cli")
    write_encoder(folder / "encoder")
    write_ner(folder / "en.txt", "en", repeat=3)
    write_ner(folder / "es.txt", "es")
    write_topics(folder / "en.tsv", "en", repeat=3)
    common = ["--set", "optim.lr=1e-3", "--set", "optim.head_lr=1e-2", "--set", "train.batch_size=4", "--set", "train.epochs=4",
              "--set", "data.max_length=32", "--set", "model.freeze=[]", "--encoder", str(folder / "encoder")]
    for recipe, suffix, out in (("finetune-ner-cpu", "txt", "tagger"), ("finetune-classification-cpu", "tsv", "classifier")):
        subprocess.run([sys.executable, "-m", "minixl", "train", recipe, *common, "--source", f"en={folder}/en.{suffix}",
                        "--test", f"en={folder}/en.{suffix}", "--out", str(folder / out)], check=True, capture_output=True)
    return folder


def test_help_is_instant():
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "minixl", "--help"], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - begin
    for command in ("train", "evaluate", "predict", "weights", "data", "bench", "report"):
        assert command in done.stdout
    imported = subprocess.run([sys.executable, "-X", "importtime", "-m", "minixl", "--help"], capture_output=True, text=True,
                              check=True).stderr
    assert "numpy" not in imported and "scipy" not in imported         # what makes it slow is not imported at all
    assert seconds < 2                                                 # 0.2 s alone; CI shares its cores


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "weights", "data", "bench", "report"])
def test_every_command_has_help(minixl, command):
    code, out, _ = minixl(command, "--help")
    assert code == 0 and "Usage: minixl" in out or "Usage:" in out


def test_wrong_usage_is_exit_code_2(minixl):
    assert minixl("trian")[0] == 2 and "No such command 'trian'; did you mean train?" in minixl("trian")[2]
    assert minixl("train", "--no-such-option")[0] == 2
    code, _, err = minixl("train", "finetune-ner", "--source", "en=x")
    assert code == 2 and "--encoder PATH is missing" in err
    assert minixl("train", "--seed", "-1")[0] == 2
    code, _, err = minixl("train", "--seed", "1", "--seeds", "2")
    assert code == 2 and "exclude each other" in err


def one_line(err):
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("Error: "), err
    return lines[0]


@pytest.mark.parametrize(("args", "message"), [
    (["train", "finetune-nr"], "did you mean finetune-ner"),
    (["train", "finetune-ner", "--set", "train.epoch=3"], "there is no setting 'train.epoch'; did you mean train.epochs?"),
    (["train", "finetune-ner", "--set", "train.epochs=many"], "train.epochs: expected a whole number, got 'many'"),
    (["train", "finetune-ner", "--set", "train.epochs"], "expected section.key=value"),
    (["train", "finetune-ner", "--set", "data.on_long=cut"], "expected one of window, truncate, error, got 'cut'"),
    (["train", "none.toml"], "none.toml: cannot be read"),
    (["evaluate", "nowhere", "es=x.txt"], "nowhere: expected a model folder with minixl.json"),
    (["predict", "nowhere"], "nowhere: expected a model folder with minixl.json"),
    (["train", "--resume", "--out", "nowhere"], "holds no run to continue"),
    (["train", "finetune-ner", "--encoder", "nowhere", "--source", "en"], "--source en: expected LANGUAGE=FILE"),
    (["train", "finetune-ner", "--encoder", "nowhere", "--source", "en=x.txt"], "nowhere: no such folder"),
    (["train", "finetune-ner", "--encoder", "xlm-roberta-base", "--source", "en=x.txt"],
     "from https://huggingface.co/FacebookAI/xlm-roberta-base/tree/main into a folder xlm-roberta-base"),
])
def test_mistakes_are_one_line_and_exit_code_1(minixl, args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = minixl(*args)
    assert code == 1 and out == ""
    assert message in one_line(err)
    assert list(tmp_path.iterdir()) == []


def test_cuda_without_a_device(minixl, trained, tmp_path):
    from minixl import backend
    if backend.cupy is not None and backend.cupy.cuda.is_available():
        pytest.skip("there is a CUDA device")
    code, _, err = minixl("train", "finetune-ner", "--encoder", trained / "encoder", "--source", f"en={trained}/en.txt",
                          "--device", "cuda", "--out", tmp_path / "run")
    assert code == 1 and "cuda was asked for, but" in one_line(err)
    for command in (["predict", trained / "tagger" / "model"], ["evaluate", trained / "tagger" / "model", f"en={trained}/en.txt"]):
        code, _, err = minixl(*command, "--device", "cuda")
        assert code == 1 and "cuda was asked for, but" in one_line(err)


def test_train_prints_the_table(minixl, trained, tmp_path):
    code, out, err = minixl("train", "finetune-ner-cpu", "--encoder", trained / "encoder", "--source", f"en={trained}/en.txt",
                            "--dev", f"en={trained}/en.txt", "--dev", f"es={trained}/es.txt", "--test", f"es={trained}/es.txt",
                            "--set", "data.max_length=32", "--set", "train.max_steps=2", "--set", "model.freeze=bottom:1",
                            "--seeds", 2, "--out", tmp_path / "run")
    assert code == 0, err
    assert out.splitlines()[0].split() == ["test", "f1", "selected", "last", "oracle"]
    assert out.splitlines()[1].startswith("es ") and "±" in out
    assert "frozen: " in err and "newly initialised" in err


def test_a_folder_in_use(minixl, trained):
    code, _, err = minixl("train", "finetune-ner-cpu", "--encoder", trained / "encoder", "--source", f"en={trained}/en.txt",
                          "--out", trained / "tagger")
    assert code == 1 and "the folder holds a finished run, its scores are in" in one_line(err)


def test_show_lists_every_setting(minixl):
    from minixl.building import FAMILIES
    from minixl.methods import SCHEMA
    code, out, err = minixl("train", "finetune-ner", "--show", "--set", "train.epochs=7")
    assert code == 0 and "train.epochs = 7" in out
    unused = {name for name in SCHEMA if name.startswith(("adversary.", "linkage.", "perturbation.", "advpicker.", "distill.",
                                                          "self_learning."))}
    unused |= {name for name in SCHEMA if name.startswith(("zero_resource.", "mlma.", "language_model."))}
    unused |= {name for family in ("bilstm-crf", "augmented-tagger", "mlma-tagger") for name in FAMILIES[family].section.settings}
    assert {name for name in SCHEMA if f"\n{name} = " in out} == set(SCHEMA) - unused
    assert f"{len(unused)} settings that this recipe does not use" in err and "# optimiser" in out
    code, out, _ = minixl("train", "finetune-ner", "--show", "--all")
    assert code == 0 and all(f"\n{name} = " in out for name in SCHEMA)
    for recipe, setting in (("advpicker", "adversary.lr"), ("language-adversarial-ner", "adversary.lr"),
                            ("bilstm-crf-ner", "model.tied")):
        assert f"\n{setting} = " in minixl("train", recipe, "--show")[1], recipe
    assert minixl("train", "finetune-ner", "--all")[0] == 2


def test_evaluate(minixl, trained):
    code, out, _ = minixl("evaluate", trained / "tagger" / "model", f"en={trained}/en.txt", "--json")
    stored = json.loads((trained / "tagger" / "metrics.json").read_text())["test"]["en"]
    assert code == 0 and json.loads(out)["en"] == stored               # the saved model scores as the trained one did
    code, out, _ = minixl("evaluate", trained / "tagger" / "model", f"en={trained}/en.txt", "--strict")
    assert code == 0 and "PER" in out
    code, out, _ = minixl("evaluate", trained / "classifier" / "model", f"en={trained}/en.tsv")
    assert code == 0 and "accuracy" in out
    code, _, err = minixl("evaluate", trained / "tagger", f"en={trained}/en.txt")
    assert code == 1 and "did you mean" in one_line(err)


def test_strict_is_for_entities(minixl, trained):
    said = "--strict has no effect: it applies to the entities of labelled files\n"
    for model, suffix, times in (("classifier", "tsv", 1), ("tagger", "txt", 0)):
        given = ("evaluate", trained / model / "model", f"en={trained}/en.{suffix}")
        code, out, err = minixl(*given, "--strict")
        assert code == 0 and err.count(said) == times and said not in minixl(*given)[2]
    (pairs := trained / "pairs.tsv").write_text("anna\tana\nben\tbenito\n")
    code, out, err = minixl("evaluate", trained / "tagger" / "model", "--strict", "--translations", f"en-es={pairs}")
    assert code == 0 and err.count(said) == 1


def test_evaluate_says_how_many_tags_break_the_scheme(minixl, trained):
    code, out, err = minixl("evaluate", trained / "tagger" / "model", f"en={trained}/en.txt", "--scheme", "IOBES")
    assert code == 0 and "tags violate IOBES and were repaired\n" in err


def test_evaluate_with_other_labels(minixl, trained, tmp_path):
    (tmp_path / "x.txt").write_text("anna\tB-PER\nparis\tB-PLACE\n")
    code, out, err = minixl("evaluate", trained / "tagger" / "model", f"en={tmp_path}/x.txt")
    assert code == 1 and out == "" and "x.txt:2: expected one of the tags" in one_line(err)


def test_predict_text_jsonl_and_columns(minixl, trained):
    model = trained / "tagger" / "model"
    text = "anna visited paris .\n\nben lives in madrid."
    code, out, _ = minixl("predict", model, stdin=text)
    assert code == 0 and len(out.splitlines()) == 3 and out.splitlines()[1] == ""
    code, out, _ = minixl("predict", model, "--format", "jsonl", stdin=text)
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[0]["words"] == [[0, 4], [5, 12], [13, 18], [19, 20]] and len(rows[0]["tags"]) == 4
    assert rows[1] == {"text": "", "words": [], "tags": [], "confidences": [], "entities": []}
    for row in rows:
        for entity in row.get("entities", []):
            assert row["text"][entity["start"]:entity["end"]] == entity["text"] and 0 < entity["confidence"] <= 1
    columns = (trained / "en.txt").read_text()
    code, out, _ = minixl("predict", model, trained / "en.txt", "--format", "conll")
    assert code == 0
    for before, after in zip(columns.splitlines(), out.splitlines(), strict=True):
        assert after.rsplit("\t", 1)[0] == before if before else after == ""
    code, out, _ = minixl("predict", model, "--input", "text", "--format", "conll", stdin="anna lives .")
    assert [line.split("\t")[0] for line in out.splitlines() if line] == ["anna", "lives", "."]


def test_predict_classes(minixl, trained):
    model = trained / "classifier" / "model"
    code, out, _ = minixl("predict", model, "--format", "jsonl", stdin="anna visited paris\nben lives")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert rows[0]["label"] in ("home", "travel")
    code, _, err = minixl("predict", model, "--format", "conll", stdin="a")
    assert code == 1 and "is a classifier" in one_line(err)


@pytest.mark.parametrize("kind", ["auto", "text", "conll"])
def test_a_classifier_has_no_columns(minixl, trained, kind):
    code, out, err = minixl("predict", trained / "classifier" / "model", "--format", "conll", "--input", kind, stdin="anna lives\n")
    assert code == 1 and out == "" and "is a classifier and labels whole texts" in one_line(err)


def test_a_reader_that_stops_early_is_no_mistake(trained):
    predict = f"{sys.executable} -m minixl predict {trained / 'tagger' / 'model'}"
    done = subprocess.run(f"yes 'anna visited paris .' | head -2000 | {predict} | head -1", shell=True, capture_output=True,
                          text=True)
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""


def test_evaluate_takes_the_scheme(minixl, trained, tmp_path):
    (tmp_path / "x.txt").write_text("anna\tI-PER\nparis\tO\n")
    code, out, _ = minixl("evaluate", trained / "tagger" / "model", f"en={tmp_path}/x.txt", "--scheme", "IOB1", "--json")
    assert code == 0 and json.loads(out)["en"]["support"] == 1


def test_predict_bad_bytes(minixl, trained):
    code, _, err = minixl("predict", trained / "tagger" / "model", stdin=b"caf\xe9\n")
    assert code == 1 and "standard input:1: expected utf-8" in one_line(err)


def test_sample_and_stats(minixl, tmp_path):
    code, out, _ = minixl("data", "sample", tmp_path / "sample")
    assert code == 0 and len(out.splitlines()) == 24
    code, _, err = minixl("data", "sample", tmp_path / "sample")
    assert code == 1 and "in use" in one_line(err)
    code, out, _ = minixl("data", "stats", "ner", f"es={tmp_path}/sample/ner/es/test.txt")
    assert code == 0 and out.startswith("es: 200 inputs") and "PER" in out
    code, out, err = minixl("data", "stats", "pos", f"es={tmp_path}/sample/ner/es/test.txt")
    assert code == 0 and out and err == "warning: es: these look like entity tags; use the task ner\n"


def test_stats_of_files_that_share_inputs(minixl, tmp_path):
    for name, words in (("a", ("x", "y", "y")), ("b", ("y", "z", "y"))):
        (tmp_path / f"{name}.txt").write_text("".join(f"{word}\tB-PER\n\n" for word in words))
    code, out, _ = minixl("data", "stats", "ner", f"en={tmp_path}/a.txt", f"es={tmp_path}/b.txt")
    assert code == 0 and out.splitlines() == [
        "en: 3 inputs, 3 words; PER 3", "es: 3 inputs, 3 words; PER 3; inputs that also stand in a file before this one: 2"]


def test_python_api(trained):
    import minixl
    model = minixl.load(trained / "tagger" / "model")
    result = model.predict(["anna visited paris ."])
    assert result[0]["tags"] and result[0]["text"] == "anna visited paris ."
    with pytest.raises(TypeError, match="expected a list of strings"):
        model.predict("anna")


def test_stats_of_many_labels(minixl, tmp_path):
    (tmp_path / "x.txt").write_text("".join(f"w\tT{i:02}\n" for i in range(23)))
    code, out, _ = minixl("data", "stats", "pos", f"en={tmp_path}/x.txt")
    assert code == 0 and out.endswith(" T18 1, T19 1, and 3 more labels\n")


def test_an_unknown_command_without_a_similar_one_names_the_help(minixl):
    code, out, err = minixl("help")
    assert (code, out) == (2, "") and err.endswith("Error: No such command 'help'; minixl --help lists them\n")
