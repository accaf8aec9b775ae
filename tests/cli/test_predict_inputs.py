"""What minixl predict reads and keeps: JSON lines, tables, columns, texts; the threshold; unusual lines."""
import csv
import io
import json

import pytest

TAGGER = {"text", "words", "tags", "confidences", "entities"}
CLASSIFIER = {"text", "label", "confidence", "probabilities"}
LONG = "anna visited paris . " * 125


@pytest.fixture
def predict(minixl, models):
    """predict("ner", ..., stdin=...) -> stdout of a command that succeeds without messages."""
    def call(model, *options, stdin):
        code, out, err = minixl("predict", models / model / "model", *options, stdin=stdin)
        assert (code, err) == (0, "")
        return out
    return call


def refused(minixl, models, model, *options, stdin=""):
    code, out, err = minixl("predict", models / model / "model", *options, stdin=stdin)
    assert code == 1 and out == "" and err.startswith("Error: ") and err.count("\n") == 1
    return err[len("Error: "):-1]


@pytest.mark.parametrize(("model", "keys"), [("ner", TAGGER), ("pos", TAGGER - {"entities"}), ("topics", CLASSIFIER)])
def test_json_lines_keep_their_keys(predict, model, keys):
    """As they are written, the prediction beside them, all its keys on every line, also an empty one."""
    lines = ['{"id": 1.50, "text": "anna visited paris .", "tags": null}', "", '{"text":"","id":2}', '{"text": "  "}']
    out = predict(model, stdin="\r\n".join(lines)).splitlines()
    assert [line.startswith(before[:-1]) for before, line in zip(lines, out, strict=True)] == [True] * 4
    assert [json.loads(line)["prediction"].keys() == keys - {"text"} for line in out] == [True] * 4
    alone = json.loads(predict(model, "--format", "jsonl", "--input", "text", stdin="anna visited paris ."))
    assert {"text": alone["text"], **json.loads(out[0])["prediction"]} == alone


def test_tokens(predict):
    """A tagger keeps the tokens that it is given; a classifier reads them as a text."""
    lines = '{"tokens": ["anna.b", "visited", "the paris"], "ner_tags": ["O", "O", "O"]}\n{"tokens": []}\n'
    first, last = map(json.loads, predict("ner", stdin=lines).splitlines())
    assert first["tokens"][0] == "anna.b" and len(first["prediction"]["tags"]) == 3 == len(first["prediction"]["confidences"])
    assert first["prediction"]["words"] == [[0, 6], [7, 14], [15, 24]] and last["prediction"]["tags"] == []
    out = predict("ner", "--format", "conll", stdin=lines).splitlines()
    assert out == [f"{word}\t{tag}" for word, tag in zip(first["tokens"], first["prediction"]["tags"], strict=True)] + ["", ""]
    assert predict("topics", "--format", "text", stdin=lines).splitlines()[0].endswith("\tanna.b visited the paris")


def test_a_csv_keeps_its_rows(predict):
    """Byte by byte, with the columns added to the right."""
    text = '\ufeffid,text,label\r\n1,"anna, ""the"" ben\r\nparis",home\r\n\r\n2,,x\r\n3,ben,y'
    out = predict("topics", stdin=text)
    before, rows = list(csv.reader(io.StringIO(text, newline=""))), list(csv.reader(io.StringIO(out, newline="")))
    assert [row[:3] for row in rows] == before and rows[0][3:] == ["prediction", "confidence"] and out.count("\r\n") == 5
    assert rows[1][3] in ("home", "travel") and 0.5 <= float(rows[1][4]) <= 1 and rows[3][3:] == ["", ""]
    answer = json.loads(predict("topics", "--format", "jsonl", stdin=text).splitlines()[0])
    assert list(answer) == ["id", "text", "label", "prediction"] and answer["id"] == "1"
    assert answer["prediction"]["label"] == rows[1][3]


@pytest.mark.parametrize("options", [[], ["--input", "csv"], ["--text-column", "TEXT"]])
def test_a_csv_with_semicolons_keeps_them(predict, options):
    """As Excel writes it, with and without the line sep=; and with a text over two lines."""
    table = 'id;text;label\r\n1;"anna, ""the""; ben\r\nparis";home\r\n2;ben, lives;x\r\n'
    before = list(csv.reader(io.StringIO(table, newline=""), delimiter=";"))
    for declared in ("", "sep=;\r\n"):
        out = predict("topics", *options, stdin="\ufeff" + declared + table)
        assert out.startswith("\ufeff" + declared + "id;text;label;prediction;confidence\r\n1;\"anna, \"\"the\"\"; ben\r\n")
        rows = list(csv.reader(io.StringIO(out.removeprefix("\ufeff" + declared), newline=""), delimiter=";"))
        assert [row[:3] for row in rows] == before and {row[3] for row in rows[1:]} <= {"home", "travel"}
    marked = predict("ner", *options, "--threshold", "1", stdin='id;text\n1;"ben; anna"\n')       # what holds a semicolon is quoted
    assert marked == 'id;text;prediction\n1;"ben; anna";"ben; anna"\n'


def test_a_table_for_a_tagger(predict):
    header, row = csv.reader(io.StringIO(predict("ner", stdin='id,text\n1,"anna, ben"\n')))
    assert header == ["id", "text", "prediction"] and row[1] == "anna, ben"
    assert row[2] + "\n" == predict("ner", stdin="anna, ben\n")
    for table in ("id\ttext\n1\tanna lives\n", "label\ttext\nx\tanna lives\n"):
        assert predict("ner", "--format", "conll", "--input", "tsv", stdin=table).splitlines()[0].startswith("anna\t")
    assert predict("ner", "--format", "conll", stdin=table).splitlines()[0].startswith("anna\t")


def test_labels_and_texts(predict, minixl, models, tmp_path):
    text = (models / "en.tsv").read_text()
    out = predict("topics", stdin=text)
    assert [line.rsplit("\t", 2)[0] for line in out.splitlines()] == text.splitlines()
    (tmp_path / "a.tsv").write_text("sports\tanna lives\n")
    assert minixl("predict", models / "topics" / "model", tmp_path / "a.tsv")[1].startswith("sports\tanna lives\t")
    assert predict("topics", "--format", "text", stdin=text).splitlines()[0].endswith("\t" + text.splitlines()[0].split("\t")[1])


def test_columns_are_recognised(predict, models):
    text = (models / "en.txt").read_text()
    out = predict("ner", stdin=text)
    assert out == predict("ner", "--format", "conll", stdin=text) and out.splitlines()[0].startswith("anna\tB-PER\t")
    assert out == predict("ner", "--input", "conll", stdin=text)
    answers = [json.loads(line) for line in predict("ner", "--format", "jsonl", stdin=text).splitlines()]
    assert len(answers) == text.count("\n\n") + 1 and answers[0]["text"] == "anna visited paris ." and answers[0].keys() == TAGGER
    assert [tag for answer in answers for tag in answer["tags"]] == [line.split("\t")[2] for line in out.splitlines() if line]
    assert len(predict("ner", "--format", "text", stdin=text).splitlines()) == len(answers)


def test_escape_sequences_of_columns_are_kept(predict):
    """Programs read columns; only the text to read on a terminal is without them."""
    assert predict("ner", "--format", "conll", stdin="anna\x1b[31m\tX\n").startswith("anna\x1b[31m\tX\t")


def test_confidences_of_columns(predict, models, minixl):
    plain, out = (predict("ner", *options, stdin="anna\tX\nlives\tY\n") for options in ([], ["--confidences"]))
    cells = [line.split("\t") for line in out.splitlines()]
    assert ["\t".join([*row[:2], row[3]]) for row in cells] == plain.splitlines() and all(0 < float(row[2]) < 1 for row in cells)
    answer = json.loads(predict("ner", "--input", "text", "--format", "jsonl", stdin="anna lives"))
    assert [float(row[2]) for row in cells] == answer["confidences"]
    for output, fix in (("text", "add --format conll"), ("jsonl", "leave it out, since JSON has all confidences")):
        assert refused(minixl, models, "ner", "--confidences", "--format", output, stdin="anna") == \
            f"--confidences: expected columns as output, found {output}; {fix}"


def test_a_threshold(predict, minixl, models):
    """What is less certain is untagged, and shows its confidence where there is a place for it."""
    texts, nothing = "anna visited paris\nben lives\n", ["--threshold", "1"]
    assert predict("ner", *nothing, stdin=texts) == texts
    assert predict("pos", *nothing, stdin="ben lives\n") == "ben/_ lives/_\n"
    assert {line.split("\t")[-1] for line in predict("ner", *nothing, stdin="anna\tX\nben\tX\n").splitlines()} == {"O"}
    answer = json.loads(predict("topics", *nothing, "--format", "jsonl", stdin="anna"))
    assert answer["label"] is None and 0.5 <= answer["confidence"] == max(answer["probabilities"].values())
    assert predict("topics", *nothing, stdin="anna").split("\t")[0] == ""
    assert predict("topics", "--threshold", "0", stdin="anna") == predict("topics", stdin="anna")
    assert predict("topics", *nothing, stdin="text,id\nanna,1\n").splitlines()[1].startswith("anna,1,,0.")
    for value in ("-0.1", "1.1", "x"):
        code, out, err = minixl("predict", models / "ner" / "model", "--threshold", value, stdin="anna")
        assert code == 2 and out == "" and "--threshold" in err
    assert refused(minixl, models, "ner", "--threshold", "nan", stdin="anna") == "threshold: expected a number from 0 to 1, got nan"


def test_the_best_classes(predict, minixl, models):
    label, confidence, other, rest, text = predict("topics", "--top", "5", stdin="anna").rstrip("\n").split("\t")
    assert {label, other} == {"home", "travel"} and float(confidence) >= float(rest) and text == "anna"
    header, row, empty = csv.reader(io.StringIO(predict("topics", "--top", "2", stdin="text,id\nanna,1\n,2\n")))
    assert header[2:] == ["prediction", "confidence", "prediction_2", "confidence_2"] and row[2::2] == [label, other]
    assert empty[2:] == [""] * 4
    _, uncertain = csv.reader(io.StringIO(predict("topics", "--top", "2", "--threshold", "1", stdin="text,id\nanna,1\n")))
    assert uncertain == [*row[:2], "", row[3], "", row[5]]
    assert predict("topics", "--top", "2", "--threshold", "1", stdin="anna") == f"\t{confidence}\t\t{rest}\tanna\n"
    answer = json.loads(predict("topics", "--top", "2", "--threshold", "1", "--format", "jsonl", stdin="anna"))
    assert answer["label"] is None and list(answer["probabilities"]) == [label, other]
    answer = json.loads(predict("topics", "--top", "1", "--format", "jsonl", stdin="anna"))
    assert answer["probabilities"] == {label: answer["confidence"]}
    assert refused(minixl, models, "ner", "--top", "2").startswith("--top: expected a classifier, found a tagger in ")


def test_the_column_of_the_text(predict, minixl, models):
    header, row = predict("topics", "--text-column", "body", stdin="id,body\n1,anna\n").splitlines()
    assert header == "id,body,prediction,confidence" and row.startswith("1,anna,")
    answer = json.loads(predict("ner", "--text-column", "body", stdin='{"body": ["anna", "b"]}'))
    assert answer["prediction"]["words"] == [[0, 4], [5, 6]]
    assert refused(minixl, models, "ner", "--text-column", "body", stdin="anna lives") == \
        "standard input:1: expected the column 'body' (--text-column) in the header line, found 'anna lives'"
    assert refused(minixl, models, "ner", "--text-column", "body", "--input", "text", stdin="anna") == \
        "--text-column: expected JSON lines or a table, found --input text"
    assert refused(minixl, models, "ner", "--input", "jsonl", stdin="{}") == \
        "standard input:1: expected the key 'tokens' or 'text', found none; add it, or name the key that holds it with " \
        "--text-column NAME"
    assert "expected the column 'bodi' (--text-column) in the header line, found 'id', 'body'; did you mean body?" in \
        refused(minixl, models, "ner", "--input", "csv", "--text-column", "bodi", stdin="id;body\n1;anna\n")


def test_texts_where_columns_are_expected(minixl, models, predict):
    """Refused if they cannot be columns, else said; --input conll is the user's word."""
    hint = "the lines look like texts, but the first word of each is read as the word and the others as its columns"
    assert refused(minixl, models, "ner", "--format", "conll", stdin="anna lives here\nben lives\n") == \
        f"standard input: {hint}; use --input text for one text per line"
    code, out, err = minixl("predict", models / "ner" / "model", "--format", "conll", stdin="anna lives here\n")
    assert code == 0 and out.startswith("anna lives here ")
    assert err == f"standard input: {hint}; use --input text for one text per line (--input conll turns this warning off)\n"
    assert predict("ner", "--input", "conll", stdin="anna lives here\n") == out
    for columns in ("anna\nlives\n", "anna x y\tz\n", "anna PROPN\nlives VERB\n", "anna noun\nlives verb\n" * 10,
                    "# c\nanna B-PER\n"):
        assert predict("ner", "--format", "conll", stdin=columns)


@pytest.mark.parametrize("model", ["ner", "pos", "topics"])
@pytest.mark.parametrize(("options", "lines"), [
    ([], [b"{}", b"", b"   ", b"ben"]),
    (["--input", "jsonl"], [b'{"text": "{}"}', b"", b'{"text": "   "}', b'{"text": "ben"}']),
    (["--input", "csv"], [b"{}", b"", b'"   "', b"ben"]), (["--input", "tsv"], [b"{}", b"", b"   ", b"ben"])])
def test_unusual_lines(minixl, models, model, options, lines):
    """A sentence of 500 words, an empty line, spaces, CRLF, a byte order mark; bytes that are no UTF-8, also a surrogate's."""
    data = b"\xef\xbb\xbf" + b"\r\n".join(lines).replace(b"{}", LONG.encode(), 1) + b"\r\n"
    for output in ("text", "jsonl"):
        code, out, err = minixl("predict", models / model / "model", *options, "--format", output, stdin=data)
        shown = 2 if options[-1:] in (["csv"], ["tsv"]) else 4                            # blank lines of a table are no rows
        assert (code, err) == (0, "") and len(out.splitlines()) == shown and "anna" in out.splitlines()[0]
        if output == "jsonl":
            answers = [json.loads(line) for line in out.splitlines()]
            assert len({tuple(answer) for answer in answers}) == 1 and len(answers[0].get("tags", range(500))) == 500
    for wrong, byte in ((b"ann\xe9\n", "0xe9"), (b"a\xed\xa0\x80\n", "0xed")):
        code, out, err = minixl("predict", models / model / "model", *options, stdin=lines[3] + b"\n" + wrong)
        assert code == 1 and err.startswith(f"Error: standard input:2: expected utf-8, found byte {byte} after 'a")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv"])
def test_an_empty_file(minixl, models, tmp_path, name):
    for content in ("", "\n"):
        (tmp_path / name).write_text(content)
        code, out, err = minixl("predict", models / "topics" / "model", tmp_path / name)
        assert (code, err) == (0, "") and (out == content or json.loads(out)["prediction"]["label"] is None)
