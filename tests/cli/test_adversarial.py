"""The adversarial methods from the command line: whole runs, resuming, comparing, and a user's mistakes, each one line."""
import csv
import json

import pytest

from tests.whole_runs import write_data

TINY = ["--device", "cpu", "--set", "data.max_length=32", "--set", "model.freeze=[]", "--set", "model.keep_frozen=false",
        "--set", "train.batch_size=4", "--set", "adversary.size=8", "--set", "train.epochs=1", "--set", "train.max_steps=2"]
STEPS = ["--set", "advpicker.epochs=1", "--set", "advpicker.teachers=2", "--set", "train.max_steps=3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    (folder / "empty.txt").write_text("\n")
    (folder / "rare.tsv").write_text((folder / "en.tsv").read_text() + "travle\tanna visited madrid .\n")
    return folder


@pytest.fixture
def train(minixl, data, tmp_path):
    """train(recipe, ...) -> (code, stdout, the last line of stderr, whether the run folder was made)."""
    def call(recipe, *args, source="en.txt", unlabelled=("es=es.raw",), out=None):
        out = out or tmp_path / "run"
        targets = [part for pair in unlabelled for part in ("--unlabelled", "{}={}/{}".format(pair[:2], data, pair[3:]))]
        code, text, err = minixl("train", recipe, "--encoder", data / "encoder", *TINY, "--source", f"en={data / source}",
                                 *targets, *args, "--out", out)
        assert "Traceback" not in err
        return code, text, err.strip().splitlines()[-1], out.exists()
    return call


@pytest.mark.parametrize("recipe", ["language-adversarial-ner", "language-adversarial-classification"])
def test_language_adversarial(train, minixl, data, tmp_path, recipe):
    suffix = "txt" if recipe.endswith("ner") else "tsv"
    code, text, _, _ = train(recipe, "--test", f"es={data}/es.{suffix}", source=f"en.{suffix}",
                             unlabelled=("es=es.raw", "fr=fr.raw"))
    assert code == 0 and text.splitlines()[1].startswith("es ")
    assert minixl("evaluate", tmp_path / "run" / "model", f"es={data}/es.{suffix}")[0] == 0
    assert minixl("predict", tmp_path / "run" / "model", stdin="anna visita madrid .\n")[0] == 0


def test_advpicker_and_its_studies(train, minixl, data, tmp_path):
    code, text, _, _ = train("advpicker-cpu", *STEPS, "--set", "advpicker.audit=true", "--test", f"es={data}/es.txt",
                             unlabelled=("es=es.txt", "fr=fr.raw"))
    assert code == 0 and text.splitlines()[1].startswith("es ")
    assert set(json.loads((tmp_path / "run" / "audit.json").read_text())) == {"languages", "test"}
    code, _, err = minixl("train", "--resume", "--out", tmp_path / "run")
    assert code == 1 and err.startswith(f"Error: --resume: the run in {tmp_path}/run is finished, its scores are in ")


def test_runs_are_compared(train, minixl, data, tmp_path):
    scored = ("--set", "train.score_tests=true", "--set", "train.eval_every=1", "--test", f"es={data}/es.txt", "--seeds", "2")
    assert train("language-adversarial-ner", *scored, out=tmp_path / "with")[0] == 0
    assert train("finetune-ner", *scored, unlabelled=(), out=tmp_path / "without")[0] == 0
    page, rows = tmp_path / "page.html", tmp_path / "rows.csv"
    code, text, err = minixl("report", tmp_path / "with", tmp_path / "without", "--out", page, "--csv", rows)
    assert code == 0 and err == f"{page}: 4 runs in 2 groups\n" and "with (2 seeds)" in text and "±" in text
    assert page.read_text().count("<polygon") + page.read_text().count("<polyline") >= 3
    with open(rows, encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 2 * 2 * 2 and {row["group"] for row in found} == {"with (2 seeds)", "without (2 seeds)"}
    assert all((row["loss_generator"] != "") == row["group"].startswith("with ") for row in found)


def test_reports_that_cannot_be_written(minixl, tmp_path):
    assert minixl("report")[0] == 2 and minixl("report", tmp_path)[0] == 1
    code, _, err = minixl("report", tmp_path, "--out", tmp_path)
    assert code == 1 and err.startswith("Error: --out ") and "found a folder" in err
    code, _, err = minixl("report", tmp_path, "--out", tmp_path / "none" / "page.html")
    assert code == 1 and "found no folder" in err
    code, _, err = minixl("report", tmp_path / "none", "--out", tmp_path / "page.html")
    assert code == 1 and err.count("\n") == 1 and "expected a run folder with config.toml" in err


@pytest.mark.parametrize(("recipe", "how", "args", "said"), [
    ("language-adversarial-ner", {"unlabelled": ("es=empty.txt",)}, [], "empty.txt: expected text in es, found none"),
    ("language-adversarial-ner", {"unlabelled": ("es=none.txt",)}, [], "none.txt: expected a file, found nothing"),
    ("language-adversarial-ner", {"unlabelled": ()}, [], "--unlabelled: language-adversarial reads unlabelled text, so it needs"),
    ("language-adversarial-ner", {"unlabelled": ("en=es.raw",)}, [], "text in a language other than en, "),
    ("language-adversarial-ner", {}, ["--set", "model.freeze=bert.*"], "model.freeze: all parameters of the encoder are frozen"),
    ("language-adversarial-ner", {}, ["--set", "model.keep_frozen=true"], "model.keep_frozen: expected frozen embeddings"),
    ("language-adversarial-ner", {}, ["--set", "model.type=bilstm-crf"], "model.type: method language-adversarial compares"),
    ("language-adversarial-ner", {}, ["--set", "adversary.lr=inf"], "adversary.lr: expected a finite number, got inf"),
    ("language-adversarial-classification", {"source": "rare.tsv"}, [], "rare.tsv:13: expected at least 2 texts of every class, "
     "found 1 of 'travle'; correct the label, or allow it with --set data.min_count=1"),
    ("finetune-ner", {"unlabelled": ()}, ["--set", "adversary.level=token"], "so it needs text in a language other than en"),
    ("finetune-ner", {"unlabelled": ()}, ["--set", "linkage.level=sentence"], "so it needs text in a language other than en"),
    ("advpicker-cpu", {"source": "en.tsv"}, ["--set", "task=classification"], "method: advpicker trains taggers (task ner or pos), "
     "got task classification; for documents use the recipe language-adversarial-classification"),
    ("advpicker-cpu", {}, ["--set", "advpicker.rho=0.1"], "advpicker.rho: 0.1 selects none of the 4 sentences of "),
    ("advpicker-cpu", {}, ["--set", "advpicker.rho=1.5"], "advpicker.rho: expected"),
    ("advpicker-cpu", {}, ["--set", "advpicker.variant=all"], "advpicker.variant: expected one of full, all-data,"),
    ("advpicker-cpu", {"unlabelled": ("es=empty.txt",)}, [], "empty.txt: expected text in es, found none"),
])
def test_mistakes(train, recipe, how, args, said):
    code, _, line, made = train(recipe, *args, **how)
    assert code == 1 and line.startswith("Error: ") and said in line and not made


def test_a_bilstm_crf_has_no_adversary(minixl, data, tmp_path):
    code, _, err = minixl("train", "bilstm-crf-ner", "--source", f"en={data}/en.txt", "--unlabelled", f"es={data}/es.raw",
                          "--set", "adversary.level=token", "--out", tmp_path / "run")
    assert code == 1 and "adversary.level" in err and "expected a transformer, found a bilstm-crf" in err
    assert err.count("\n") == 1 and not (tmp_path / "run").exists()


def test_raw_text_is_cut_into_words_as_predict_does(train, minixl, data, tmp_path):
    """The words of the pseudo-labels are the words that predict says it saw."""
    (data / "text.txt").write_text("¿Anna visita París? ben, anna.\nben vive en madrid...\n")
    assert train("advpicker-cpu", *STEPS, "--set", "advpicker.rho=1", unlabelled=("es=text.txt",))[0] == 0
    labels = (tmp_path / "run" / "pseudo-labels" / "es.conll").read_text().split("\n\n")
    learnt = [[line.split("\t")[0] for line in block.splitlines() if not line.startswith("# ")] for block in labels if block]
    code, text, _ = minixl("predict", tmp_path / "run" / "model", data / "text.txt", "--format", "jsonl")
    entries = [json.loads(line) for line in text.splitlines()]
    assert code == 0 and learnt == [[entry["text"][a:b] for a, b in entry["words"]] for entry in entries]
