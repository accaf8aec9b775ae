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


def test_the_first_of_a_sorted_file(evaluate):
    code, scores, err = evaluate("es=sorted.tsv", options=["--limit", 6])
    assert code == 0 and scores["es"]["support"] == 6
    assert ("warning: es: all 6 texts have the label 'home', and 1 more label in the rest of the file; --sample random draws the "
            "6 from all of it") in err.splitlines()
    code, scores, err = evaluate("es=sorted.tsv", options=["--limit", 6, "--sample", "random"])
    assert code == 0 and scores["es"]["support"] == 6 and "warning" not in err
