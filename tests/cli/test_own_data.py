"""Options of `minixl evaluate` and `minixl train` for files as users have them."""
import json
import sys

import pytest

from minixl.cli.main import main
from tests.tiny import write_encoder, write_topics

TINY = ("--device", "cpu", "--set", "data.max_length=32", "--set", "model.freeze=[]", "--set", "train.max_steps=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A classifier in run/model, and sorted.tsv: 20 texts of one label, then 20 of another."""
    folder = tmp_path_factory.mktemp("data")
    write_encoder(folder / "ENC")
    write_topics(folder / "en.tsv", "en", repeat=3)
    texts = [f"home\tben lives in paris {i}\n" for i in range(20)] + [f"travel\tanna visited paris {i}\n" for i in range(20)]
    (folder / "sorted.tsv").write_text("".join(texts), encoding="utf-8")
    argv, sys.argv = sys.argv, ["minixl", "train", "finetune-classification-cpu", "--encoder", str(folder / "ENC"), *TINY,
                                "--source", f"en={folder}/en.tsv", "--out", str(folder / "run")]
    try:
        main()
    finally:
        sys.argv = argv
    return folder


@pytest.fixture
def evaluate(minixl, data):
    """evaluate("es=sorted.tsv", ...) -> (code, scores, stderr); files are in the data folder."""
    def call(*files, options=()):
        code, out, err = minixl("evaluate", data / "run" / "model", *(file.replace("=", f"={data}/") for file in files), *options,
                                "--json", "--device", "cpu")
        return code, json.loads(out) if out else {}, err
    return call


def test_several_files_of_a_language_have_one_score(evaluate, data):
    (data / "a.tsv").write_text("home\tben lives in paris .\n" * 3)
    (data / "b.tsv").write_text("travel\tanna visited madrid .\n" * 2)
    code, scores, err = evaluate("es=a.tsv", "es=b.tsv", "en=a.tsv")
    assert code == 0 and {name: row["support"] for name, row in scores.items()} == {"es": 5, "en": 3}
    assert "warning: en: all 3 texts" in err and "warning: es" not in err
    code, scores, err = evaluate("es=a.tsv", "es=b.tsv", options=["--errors", 9])
    mistakes = scores["es"]["errors"]
    assert {(row["file"], row["line"]) for row in mistakes} <= {(f"{data}/{name}.tsv", i) for name in "ab" for i in (1, 2, 3)}
    assert len(mistakes) in (2, 3, 5) and scores["es"]["accuracy"] == 1 - len(mistakes) / 5
    (data / "c.tsv").write_text("home\tben\nsport\tanna\n")
    code, _, err = evaluate("es=a.tsv", "es=c.tsv")
    assert code == 1 and err.startswith(f"Error: {data}/c.tsv:2: expected one of the labels home, travel, found 'sport'")


def test_labels_that_the_model_does_not_have(evaluate, data):
    (data / "new.tsv").write_text("home\tben\nspam\tx\nhouse\tben lives\ntravel\tanna\n")
    code, _, err = evaluate("es=new.tsv")
    assert code == 1 and err == (f"Error: {data}/new.tsv:2: expected one of the labels home, travel, found 'spam'; --labels spam= "
                                 "leaves out its texts, --labels spam=LABEL renames it\n")
    code, scores, err = evaluate("es=new.tsv", options=["--labels", "spam=,house=home,x=home"])
    assert code == 0 and scores["es"]["support"] == 3
    assert "warning: --labels: x=home has no effect: no labelled file has x" in err.splitlines()
    code, _, err = evaluate("es=new.tsv", options=["--labels", "spam"])
    assert code == 1 and err.startswith("Error: --labels: expected OLD=NEW for each label to rename, for example ")


def test_columns_with_other_names(minixl, evaluate, data, tmp_path):
    """In train, in a recipe, in a repeated run, in evaluate and in data stats."""
    (data / "named.csv").write_text('id;kind;body\n1;home;"ben; lives"\n2;travel;anna visited paris\n'
                                    "3;home;ben\n4;travel;anna\n")
    names = ["--text-column", "body", "--label-column", "kind"]
    code, scores, err = evaluate("es=named.csv", options=names)
    assert code == 0 and scores["es"]["support"] == 4
    code, _, err = evaluate("es=named.csv", options=["--text-column", "text"])
    assert code == 1 and err == (f"Error: {data}/named.csv:1: expected the column 'text' (--text-column) in the header line, found "
                                 "'id', 'kind', 'body'\n")
    code, out, _ = minixl("data", "stats", "classification", f"en={data}/named.csv", *names)
    assert code == 0 and out == "en: 4 inputs, 7 words; home 2, travel 2\n"
    given = ("--encoder", data / "ENC", "--source", f"en={data}/named.csv")
    code, _, err = minixl("train", "finetune-classification-cpu", *given, *TINY, *names, "--out", tmp_path / "run")
    assert code == 0, err
    text = (tmp_path / "run" / "config.toml").read_text()
    assert 'text_column = "body"' in text and 'label_column = "kind"' in text
    assert minixl("train", tmp_path / "run", "--out", tmp_path / "again")[0] == 0
    code, out, _ = minixl("train", "finetune-classification-cpu", *names, "--show", "--toml")
    (tmp_path / "mine.toml").write_text(out)
    assert minixl("train", tmp_path / "mine.toml", *given, *TINY, "--out", tmp_path / "third")[0] == 0


def test_columns_of_texts_to_compare(minixl, data):
    for name in ("left", "right"):
        (data / f"{name}.csv").write_text("id;body\n" + "".join(f"{i};anna visited {i}\n" for i in range(5)))
    code, out, err = minixl("evaluate", data / "ENC", "--translations", f"en-es={data}/left.csv,{data}/right.csv", "--text-column",
                            "body", "--json", "--device", "cpu")
    assert code == 0 and json.loads(out)["translations"]["en-es"]["pairs"] == 5


def test_the_first_of_a_sorted_file(evaluate):
    code, scores, err = evaluate("es=sorted.tsv", options=["--limit", 6])
    assert code == 0 and scores["es"]["support"] == 6
    assert ("warning: es: all 6 texts have the label 'home', and 1 more label in the rest of the text; --sample random draws the "
            "6 from all of it") in err.splitlines()
    code, scores, err = evaluate("es=sorted.tsv", options=["--limit", 6, "--sample", "random"])
    assert code == 0 and scores["es"]["support"] == 6 and "warning" not in err


def test_a_header_that_nobody_named(minixl, data):
    """Said by every command that reads it, with the cure, which works."""
    (data / "kind.csv").write_text('kind;body\nhome;"anna; ben"\ntravel;anna visited\nhome;ben lives\ntravel;ben visited\n')
    hint = f"{data}/kind.csv:1: {{}}the first line looks like a header (kind, body); name its columns with --text-column body"
    code, out, err = minixl("data", "stats", "classification", f"en={data}/kind.csv")
    assert code == 0 and "kind 1" in out and err == f"warning: {hint.format('')} --label-column kind\n"
    said = f"Error: {hint.format('expected a label and a text, but ')} --label-column kind\n"
    train = ("train", "finetune-classification-cpu", "--encoder", data / "ENC", *TINY, "--out", data / "kinds")
    assert minixl(*train, "--source", f"en={data}/kind.csv")[::2] == (1, said)
    assert minixl(*train, "--source", f"en={data}/en.tsv", "--test", f"es={data}/kind.csv")[::2] == (1, said)
    assert minixl("evaluate", data / "run" / "model", f"es={data}/kind.csv")[::2] == (1, said)
    code, out, err = minixl("predict", data / "run" / "model", data / "kind.csv")
    assert code == 0 and out.splitlines()[1].startswith('home;"anna; ben";') and out.startswith("kind;body;")
    assert err == f"{hint.format('').replace(':1', '')}; without that, the line is read as a text\n"
    named = ("--text-column", "body")
    code, out, err = minixl("predict", data / "run" / "model", data / "kind.csv", *named)
    assert (code, err) == (0, "") and out.startswith("kind;body;prediction;confidence\n")
    allowed = ("--source", f"en={data}/kind.csv", "--set", "data.min_count=1")
    code, _, err = minixl(*train, *allowed)
    assert code == 0 and f"\nwarning: {hint.format('')} --label-column kind\n" in err
    code, _, err = minixl(*train[:-1], data / "named", "--source", f"en={data}/kind.csv", *named, "--label-column", "kind")
    assert code == 0 and "looks like" not in err
