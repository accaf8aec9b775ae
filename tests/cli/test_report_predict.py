"""minixl report and minixl predict on a terminal: tables, names of files, columns read as text, control characters."""
import json
from shutil import copytree

import pytest

from minixl.cli.terminal import printable
from minixl.run.folder import begin
from tests.tiny import write_ner, write_pos
from tests.whole_runs import inputs, run, settings


@pytest.fixture
def folder(models):
    return models


def write_run(path, seed=1, *, score=0.5, finished=True, task="ner", **changes):
    path.mkdir(parents=True)
    begin(path, settings(task=task, **changes), inputs(path.parent.parent), seed, {})
    update = json.dumps({"kind": "update", "step": 0, "loss": "task", "value": 1.0, "accuracy": None}) + "\n"
    (path / "log.jsonl").write_text(update)
    if finished:
        scores = {"en": {"f1" if task == "ner" else "accuracy": score}}
        (path / "metrics.json").write_text(json.dumps({"test": scores, "last": scores, "oracle": {}}))
    return path


def report(minixl, tmp_path, *runs):
    return minixl("report", *runs, "--out", tmp_path / "page.html")


def test_the_table_of_one_run(minixl, tmp_path):
    """No deviation of one run, no column that is empty, and headings that do not run into each other."""
    code, out, err = report(minixl, tmp_path, write_run(tmp_path / "topics", task="classification"))
    assert code == 0 and err == f"{tmp_path}/page.html: 1 run in 1 group\n"
    assert [line.split() for line in out.splitlines()] == [["test", "accuracy", "run", "selected", "last"],
                                                           ["en", "topics", "50.0", "50.0"]]
    assert out.splitlines()[0].startswith("test accuracy  run     selected  last")


def test_the_table_of_several_runs(minixl, tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / "runs" / f"seed-{seed}", seed, score=seed / 10)
    other = write_run(tmp_path / "half" / "done", finished=False, optim__lr=0.1)
    code, out, err = report(minixl, tmp_path, tmp_path / "runs", other)
    assert code == 0 and out.splitlines()[1].split(None, 1) == ["en", "runs (2 seeds)  15.0 ± 7.1  15.0 ± 7.1"]
    assert out.splitlines()[2].split() == ["en", "done", "–", "–"]
    assert err.splitlines() == [f"{other}: unfinished, 1 step so far, so it has no final scores",
                                f"{tmp_path}/page.html: 3 runs in 2 groups"]


def test_the_terminal_explains_marks_and_says_what_is_skipped(minixl, tmp_path):
    one, two = write_run(tmp_path / "runs" / "one"), write_run(tmp_path / "runs" / "two", data__test_limit=7)
    again = write_run(tmp_path / "runs" / "copy")
    code, out, err = report(minixl, tmp_path, one, two, again, one)
    assert code == 0
    assert out.splitlines()[2].split() == ["en", "two", "50.0", "*", "50.0", "*"]
    assert out.splitlines()[-1].startswith("* en") and out.splitlines()[-1].endswith(": data.test_limit is 7 in two, 0 in one")
    assert err.splitlines() == [f"{again}: skipped, since it has the same settings, inputs and seed as {one}",
                                f"{one}: given twice; counted once", f"no predictions are kept in {one}, {two} (a run of an older "
                                "version?), so the paired comparison leaves them out", f"{tmp_path}/page.html: 2 runs in 2 groups"]


def test_the_difference_of_two_runs(minixl, folder, tmp_path):
    """A table with its explanation on stdout; one line on stderr about a run that keeps no predictions."""
    run(folder, tmp_path / "two", settings(train__max_steps=2, optim__lr=1e-2))
    code, out, _ = report(minixl, tmp_path, folder / "ner", tmp_path / "two")
    empty = out.splitlines().index("")
    title, head, en, _ = out.splitlines()[empty + 1:empty + 5]
    assert code == 0 and title == "two minus ner"
    assert head.split() == ["language", "difference", "95", "%", "interval"] and en.split()[0] == "en"
    assert out.splitlines()[empty + 5].startswith("difference: in points of test f1")
    (tmp_path / "two" / "predictions" / "en.jsonl").unlink()
    code, out, err = report(minixl, tmp_path, folder / "ner", tmp_path / "two")
    assert code == 0 and "" not in out.splitlines() and err.splitlines()[0] == (
        f"no predictions are kept in {tmp_path}/two (a run of an older version?), so the paired comparison leaves it out")


def test_a_run_that_is_not_finished(minixl, tmp_path):
    stopped = write_run(tmp_path / "r1", finished=False)
    code, out, err = report(minixl, tmp_path, stopped)
    assert (code, out) == (0, "") and err.startswith(f"{stopped}: unfinished, 1 step so far")


@pytest.mark.parametrize(("options", "said"), [
    (["--out", "r.txt"], "--out r.txt: expected a name that ends in .html, found '.txt'; give --out r.html"),
    (["--out", "r"], "--out r: expected a name that ends in .html, found 'no ending'; give --out r.html"),
    (["--out", "r.html", "--csv", "r.html"], "--csv r.html: expected a name that ends in .csv, found '.html'; give --csv r.csv")])
def test_names_of_other_files_are_refused(minixl, tmp_path, monkeypatch, options, said):
    write_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert minixl("report", "run", *options) == (1, "", f"Error: {said}\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("option", ["--out", "--csv"])
def test_a_place_that_cannot_be_written_to(minixl, tmp_path, option):
    """A name that is too long for its new file beside it; a folder without permission would not stop an administrator."""
    name = tmp_path / ("r" * (253 if option == "--csv" else 252) + (".html" if option == "--out" else ".csv"))
    name = name.with_name(name.name[-253:])
    given = ("--out", name) if option == "--out" else ("--out", tmp_path / "page.html", "--csv", name)
    code, _, err = minixl("report", write_run(tmp_path / "run"), *given)
    assert code == 1 and err.count("\n") == 1 and "cannot be written (File name too long)" in err
    assert err.endswith(f"; give {option} another place\n")


def test_without_a_page_the_tables_are_printed(minixl, tmp_path):
    one, two = write_run(tmp_path / "one"), write_run(tmp_path / "two", optim__lr=0.1)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = minixl("report", one, two)
    assert code == 0 and out == report(minixl, tmp_path, one, two)[1] and "2 runs in 2 groups" in err
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "page.html"])


def test_reports_print_no_control_characters(minixl, tmp_path):
    code, out, err = report(minixl, tmp_path, write_run(tmp_path / "a\x1b[31m"), write_run(tmp_path / "b\x9b1m", optim__lr=0.1))
    assert code == 0 and "\x1b" not in out + err and "\x9b" not in out and "a\ufffd[31m" in out and "b\ufffd1m" in out


def test_control_characters():
    assert printable("a\tb\x1b[0m\x00\x7f\x85\r\n\u200dé") == "a\tb\ufffd[0m" + 5 * "\ufffd" + "\u200dé"


@pytest.mark.parametrize("model", ["ner", "pos", "topics"])
def test_predict_prints_no_control_characters(minixl, folder, model):
    code, out, _ = minixl("predict", folder / model / "model", stdin="anna \x1b[31mvisited\tparis\x07 .\n")
    assert code == 0 and "\x1b" not in out and "\x07" not in out
    assert out.count("\ufffd") == (0 if model == "pos" else 2)           # they are no words, and of pos only words are printed
    code, out, _ = minixl("predict", folder / model / "model", "--format", "jsonl", stdin="anna \x1b[31mvisited\n")
    assert "\x1b" not in out and json.loads(out)["text"] == "anna \x1b[31mvisited"


def warned(result):
    code, out, err = result
    assert code == 0 and out
    return [line for line in err.splitlines() if "each line is read as one text" in line]


@pytest.mark.parametrize("task", ["ner", "pos"])
def test_columns_that_are_read_as_texts(minixl, folder, tmp_path, task):
    """Recognised by their first lines; where these do not suffice, said once, and the output is a line for a line."""
    write = write_ner if task == "ner" else write_pos
    file, model = write(tmp_path / "en.txt", "en"), folder / task / "model"
    for options in ([], ["--format", "jsonl"], ["--format", "conll"], ["--input", "text"]):
        assert warned(minixl("predict", model, file, *options)) == []
    found = minixl("predict", model, stdin="anna\n" * 20)
    assert warned(found) == ["standard input: nearly every line is a single word, but each line is read as one text; "
                             "use --format conll for columns (--input text turns this warning off)"]
    assert len(found[1].splitlines()) == 20
    assert warned(minixl("predict", model, "--input", "text", stdin="anna\n" * 20)) == []


def test_texts_are_no_columns(minixl, folder):
    for text in ("anna visited paris .\n\nben lives\n", "\n", "anna\tand a tab\nben lives\n"):
        assert warned(minixl("predict", folder / "ner" / "model", stdin=text)) == []
    for text in ("anna visited paris .\n", "anna\tand a tab\nben lives\n", "text\nanna, ben\n", "{anna}\n", "I LOVE IT\n",
                 "travel\nhome\n" * 10):
        assert warned(minixl("predict", folder / "topics" / "model", stdin=text)) == []


TEXTS_ONLY = "give only the texts, one per line"


@pytest.mark.parametrize(("lines", "what", "fix"), [
    (["house\tanna visited paris", "home\tben lives in"], "labels and texts", "use --input tsv"),
    (["anna visited paris\ttravel", "ben\thome", "ben lives\thome"], "labels and texts",
     f"{TEXTS_ONLY}, for example with cut -f 1"),
    (["Text; Label", "anna visited paris; travel"], "comma-separated values", "use --input csv"),
    (['{"label": "home", "body": "ben lives"}'], "JSON", "name the key of the text with --text-column")])
@pytest.mark.parametrize("model", ["ner", "pos", "topics"])
def test_labelled_files_that_are_read_as_texts(minixl, folder, model, lines, what, fix):
    text = "\n".join(lines)
    found = minixl("predict", folder / model / "model", stdin=text)
    assert warned(found) == [f"standard input: the lines look like {what}, but each line is read as one text; {fix} "
                             "(--input text turns this warning off)"]
    assert len(found[1].splitlines()) == len(lines)
    assert warned(minixl("predict", folder / model / "model", "--input", "text", stdin=text)) == []


def test_columns_for_a_classifier(minixl, folder):
    said, = warned(minixl("predict", folder / "topics" / "model", stdin="anna\tB-PER\nlives\tO\n"))
    assert f"look like columns of words and tags, but each line is read as one text; {TEXTS_ONLY} (" in said


@pytest.mark.parametrize("model", ["ner", "pos"])
def test_numbers_of_words_are_no_words(minixl, folder, tmp_path, model):
    """In one column they are what was asked for."""
    numbered = tmp_path / "es.txt"
    numbered.write_text("# text = anna lives\n1-2\tannalives\t_\n1\tanna\tPROPN\n2\tlives\tVERB\n\n1\tben\tPROPN\n")
    assert minixl("predict", folder / model / "model", numbered, "--format", "conll") == (
        1, "", f"Error: {numbered}:2: expected words in the first column, found no letters but entries such as '1-2'; keep only "
        "the columns of words and tags, for example with cut -f 2,4\n")
    code, out, _ = minixl("predict", folder / model / "model", "--format", "conll", stdin="1\n2\n\n3\n")
    assert code == 0 and [line.split("\t")[0] for line in out.splitlines()] == ["1", "2", "", "3"]


@pytest.mark.parametrize("model, column", [("pos", 3), ("ner", 9)])
def test_predict_keeps_the_columns_of_conllu(minixl, folder, tmp_path, model, column):
    conllu = tmp_path / "es.conllu"
    conllu.write_text("# text = anna\n1-2\tanna\t" + "\t".join("_" * 8) + "\n1\tanna\t" + "\t".join("_" * 8) + "\n")
    code, out, err = minixl("predict", folder / model / "model", conllu, "--format", "conll")
    before, after = conllu.read_text().splitlines(), out.splitlines()
    assert (code, err) == (0, "") and after[:2] == before[:2] and len(after) == 3
    cells = after[2].split("\t")
    assert cells[column] != "_" and cells[:column] + cells[column + 1:] == before[2].split("\t")[:-1]
    assert cells[column].startswith("NE=") == (model == "ner")


@pytest.mark.parametrize("model", ["ner", "pos", "topics"])
def test_every_line_of_json_has_all_keys(minixl, folder, model):
    code, out, _ = minixl("predict", folder / model / "model", "--format", "jsonl", stdin="\nanna lives\n \n")
    first, full, last = map(json.loads, out.splitlines())
    assert code == 0 and first.keys() == full.keys() == last.keys() and (first["text"], last["text"]) == ("", " ")
    assert not any(value for key, value in first.items())


@pytest.fixture
def truncated(folder, tmp_path):
    """A copy of a model that reads 8 pieces of every input."""
    def make(name):
        model = copytree(folder / name / "model", tmp_path / name)
        info = json.loads((model / "minixl.json").read_text())
        (model / "minixl.json").write_text(json.dumps({**info, "on_long": "truncate", "max_length": 8}))
        return model
    return make


@pytest.mark.parametrize(("name", "output", "lost"), [
    ("ner", "text", "4 words"), ("pos", "jsonl", "4 words"), ("ner", "conll", "4 words"), ("topics", "text", "4 word pieces")])
def test_predict_says_what_was_cut(minixl, truncated, tmp_path, monkeypatch, name, output, lost):
    """One line for all of the input, however many parts it is read in."""
    monkeypatch.setattr("minixl.cli.predicting.TEXTS", 2)
    model, texts = truncated(name), ["anna ben in the paris . anna ben", "ben", "ben " * 8]
    (tmp_path / "es.txt").write_text("\n".join(texts if output != "conll" else ["\n".join([*text.split(), ""]) for text in texts]))
    code, out, err = minixl("predict", model, tmp_path / "es.txt", "--format", output)
    assert code == 0 and len(out.splitlines()) == (3 if output != "conll" else 19)
    assert err == f"{tmp_path}/es.txt: 3 inputs, 19 pieces, 2 longer than the limit, {lost} cut\n"
    if name == "pos":
        assert json.loads(out.splitlines()[2])["tags"][6:] == ["_"] * 2


def test_predict_says_nothing_where_nothing_was_cut(minixl, truncated):
    assert minixl("predict", truncated("ner"), stdin="anna ben in\n")[2] == ""
