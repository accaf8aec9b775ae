"""Labelled texts: the three formats agree; headers; texts without labels; the text of every error."""
import csv
import gzip
import json
from pathlib import Path

import pytest

from minixl.data.classification import check_document_labels, read_classification
from minixl.data.examples import Document
from minixl.data.lines import file_format
from minixl.errors import UserError

TSV = "travel\tDie Stadt \"Köln\", am Rhein\nsport\tEin Tor\n"
CSV = 'travel,"Die Stadt ""Köln"", am Rhein"\nsport,Ein Tor\n'
JSONL = '{"label": "travel", "text": "Die Stadt \\"K\\u00f6ln\\", am Rhein"}\n{"text": "Ein Tor", "label": "sport", "id": 7}\n'
TEXTS = ['Die Stadt "Köln", am Rhein', "Ein Tor"]
LABELS = ["travel", "sport"]


@pytest.fixture
def write(tmp_path):
    """Writes text (or bytes) to a file and returns its path."""
    def write(content, name="topics.tsv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name
    return write


def error_of(path, **options):
    """The message, without the folder of the path."""
    with pytest.raises(UserError) as error:
        read_classification(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize("content, name, first", [
    (TSV, "a.tsv", 1), (TSV, "a.txt", 1), ("\ufeff" + TSV.replace("\n", "\r\n"), "a.tsv", 1), ("\n \n" + TSV, "a.tsv", 3),
    ("label\ttext\n" + TSV, "a.tsv", 2), ("Category\tText\n" + TSV, "a.tsv", 2),
    (gzip.compress(TSV.encode(), mtime=0), "a.tsv.gz", 1),
    (CSV, "a.csv", 1), ("\ufeff" + CSV.replace("\n", "\r\n"), "a.csv", 1), ("label,text\n\n" + CSV, "a.csv", 3),
    (gzip.compress(CSV.encode(), mtime=0), "a.csv.gz", 1), (JSONL, "a.jsonl", 1), ("\ufeff\n" + JSONL, "A.JSONL", 2),
])
def test_every_format_gives_the_same_documents(write, content, name, first):
    path = write(content, name)
    assert read_classification(path) == [Document(text, label, first + i)
                                         for i, (text, label) in enumerate(zip(TEXTS, LABELS))]
    assert read_classification(path, labels=False) == [Document(text, None, first + i) for i, text in enumerate(TEXTS)]


@pytest.mark.parametrize("content, name", [
    ("id\ttext\tintent\n1\tEin\tsport\n2\tZwei\ttravel\n", "a.tsv"),
    ('text,id,label\nEin,1,sport\nZwei,2,travel\n', "a.csv"),
])
def test_a_header_gives_the_columns(write, content, name):
    documents = read_classification(write(content, name))
    assert [(document.text, document.label) for document in documents] == [("Ein", "sport"), ("Zwei", "travel")]


def test_further_tabs_belong_to_the_text(write):
    assert read_classification(write("a\tone\ttwo\n"))[0].text == "one\ttwo"
    assert read_classification(write("label\ttext\na\tone\ttwo\n"))[0].text == "one\ttwo"
    assert read_classification(write("text\none\ttwo\n"), labels=False)[0].text == "one\ttwo"


@pytest.mark.parametrize("content, name", [
    ("Ein Tor, und noch eins\nZwei\n", "a.txt"), ("text\nEin Tor, und noch eins\nZwei\n", "a.tsv"),
    ('"Ein Tor, und noch eins"\nZwei\n', "a.csv"), ('text\n"Ein Tor, und noch eins"\nZwei\n', "a.csv"),
    ('{"text": "Ein Tor, und noch eins"}\n{"text": "Zwei"}\n', "a.jsonl"),
])
def test_texts_alone(write, content, name):
    documents = read_classification(write(content, name), labels=False)
    assert [(document.text, document.label) for document in documents] == [("Ein Tor, und noch eins", None), ("Zwei", None)]


def test_a_csv_text_over_several_lines(write):
    documents = read_classification(write('a,"one\ntwo, three"\nb,four\n', "a.csv"))
    assert documents == [Document("one\ntwo, three", "a", 1), Document("four", "b", 3)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_long_text(write, name):
    """Longer than the limit of Python's csv, which is restored afterwards, even after an error."""
    text, limit = "lang " * 40_000 + "e", csv.field_size_limit()
    line = {"a.csv": f'b,"{text}"', "a.tsv": f"b\t{text}", "a.jsonl": json.dumps({"label": "b", "text": text})}[name]
    assert read_classification(write(line, name)) == [Document(text, "b", 1)]
    assert csv.field_size_limit() == limit
    if name == "a.csv":
        assert "expected comma-separated values" in error_of(write(line + '"x', name))
        assert csv.field_size_limit() == limit


def test_a_number_is_a_label_in_jsonl(write):
    assert read_classification(write('{"label": 3, "text": "a"}\n', "a.jsonl"))[0].label == "3"


@pytest.mark.parametrize("content, name, message", [
    ("a\tx\nno label\n", "a.tsv", "a.tsv:2: expected label and text separated by a tab, found 1 column in 'no label'; "
     "put the label before the text"),
    ("one\ntwo\n", "a.tsv", "a.tsv:1: expected label and text separated by a tab, found 'one'; "
     "put the label before the text"),
    ("a\tx\na\t \n", "a.tsv", "a.tsv:2: expected a text after the label 'a', found nothing; add it or delete the line"),
    ("a\tx\n\ty\n", "a.tsv", "a.tsv:2: expected a label before 'y', found none; add the label"),
    ("", "a.tsv", "a.tsv: expected one text per line, found none; is this the right file?"),
    ("label\ttext\n", "a.tsv", "a.tsv: expected one text per line, found none; is this the right file?"),
    ("", "a.csv", "a.csv: expected one text per line, found none; is this the right file?"),
    ("\n", "a.jsonl", "a.jsonl: expected one text per line, found none; is this the right file?"),
    ("a,x\nb,y, z\n", "a.csv", "a.csv:2: expected label and text separated by commas, found 3 columns in 'b,y, z'; "
     "quote texts with commas, or name the columns in a header line"),
    ('a,x\nb,"y\nz\n', "a.csv", "a.csv:2: expected comma-separated values, found an invalid row (unexpected end of data); "
     "put texts with commas in double quotes and double any quotes inside them"),
    ("label,text,id\na,x,1\nb,y\n", "a.csv", "a.csv:3: expected 3 columns separated by commas, found 2 columns in 'b,y'; "
     "complete the row"),
    ("a;x\nb;y; z\n", "a.csv", "a.csv:2: expected label and text separated by semicolons, found 3 columns in 'b;y; z'; "
     "quote texts with semicolons, or name the columns in a header line"),
    ('label;text\na;"x\n', "a.csv", "a.csv:2: expected semicolon-separated values, found an invalid row (unexpected end of data); "
     "put texts with semicolons in double quotes and double any quotes inside them"),
    ("id;label;text\n1;a;x\n", "a.txt", "a.txt:1: expected label and text separated by a tab, found semicolons in "
     "'id;label;text'; rename the file to end in .csv"),
    ("Label,Text\na,x\n", "a.tsv", "a.tsv:1: expected label and text separated by a tab, found commas in 'Label,Text'; "
     "rename the file to end in .csv"),
    ("a,x y\nb,z\n", "a", "a:1: expected label and text separated by a tab, found commas in 'a,x y'; "
     "rename the file to end in .csv"),
    ("a\tx, y\nb\tz\n", "a.csv", "a.csv:1: expected label and text separated by commas, found a tab in 'a\\tx, y'; "
     "rename the file to end in .tsv"),
    ("so, one\nBut then, two\n", "a.tsv", "a.tsv:1: expected label and text separated by a tab, found 'so, one'; "
     "put the label before the text"),
    ('"a, b"\n"c, d"\n', "a.csv", "a.csv:1: expected label and text separated by commas, found 'a, b'; "
     "put the label before the text"),
    ('{"label": "a", "text": "x"}\n{"label": "a",\n', "a.jsonl", "a.jsonl:2: expected one JSON object per line, found "
     "'{\"label\": \"a\",' (Expecting property name enclosed in double quotes, column 15); put each object on one line"),
    ('["a", "x"]\n', "a.jsonl", "a.jsonl:1: expected a JSON object with the keys label and text, found '[\"a\", \"x\"]'; "
     'write {"label": ..., "text": ...}'),
    ('{"text": "x", "tag": "a"}\n', "a.jsonl", "a.jsonl:1: expected the key 'label', found 'text', 'tag'; "
     "add it, or name the key that holds it with --set data.label_column=NAME"),
    ('{"label": "a", "text": null}\n', "a.jsonl", "a.jsonl:1: expected a string for 'text', found 'null'; correct it"),
    ('{"label": true, "text": "x"}\n', "a.jsonl", "a.jsonl:1: expected a string or a number for 'label', found 'true'; "
     "correct it"),
    ('{"label": "a", "text": "x\\ud83d"}\n', "a.jsonl", "a.jsonl:1: expected valid Unicode in 'text', found half of a "
     "surrogate pair; export the file again with complete characters"),
])
def test_a_file_that_is_wrong(write, content, name, message):
    assert error_of(write(content, name)) == message


def test_some_texts_with_labels_and_some_without(write):
    """labels=False must not guess either what stands before the only tab."""
    assert error_of(write("a\tx\ny\n"), labels=False) == \
        "topics.tsv:2: expected label and text separated by a tab, found 1 column in 'y'; label every line or none"


def test_other_dividers_in_texts_and_labels(write):
    """Both may contain commas and semicolons; without labels, only a header shows what they separate."""
    documents = read_classification(write("a;b,c\tx;y\nd;e,f\tz\n"))
    assert [(document.label, document.text) for document in documents] == [("a;b,c", "x;y"), ("d;e,f", "z")]
    assert [d.text for d in read_classification(write("so, one\nthen; two\n"), labels=False)] == ["so, one", "then; two"]
    assert error_of(write("label;text\na;x\n"), labels=False).startswith(
        "topics.tsv:1: expected label and text separated by a tab, found semicolons in 'label;text'; rename")


def test_wrong_encoding_names_the_line(write):
    for name in ("a.tsv", "a.csv", "a.jsonl"):
        content = '{"label": "a", "text": "x"}\n' if name == "a.jsonl" else "a\tx\n" if name == "a.tsv" else "a,x\n"
        path = write((content + content.replace("x\n", "Köln\n").replace('"x"', '"Köln"')).encode("latin-1"), name)
        assert ":2: expected utf-8, found byte 0xf6 after " in error_of(path)
        assert read_classification(path, encoding="latin-1")[1].text == "Köln"


def test_unknown_label(write):
    path = write(TSV)
    documents = read_classification(path)
    check_document_labels(documents, LABELS, path)
    check_document_labels(read_classification(path, labels=False), [], path)
    with pytest.raises(UserError) as error:
        check_document_labels(documents, ["travel", "sports"], path)
    assert str(error.value) == f"{path}:2: expected one of the labels travel, sports, found 'sport'; did you mean sports?"


def test_real_files_hold_what_their_lines_say(shared):
    for path, count, kinds in [("sib200/th/train.tsv", 701, 7), ("mtod/es/test.tsv", 3043, 11)]:
        path = shared / "data" / path
        documents = read_classification(path)
        assert len(documents) == count and len({document.label for document in documents}) == kinds
        assert [f"{document.label}\t{document.text}" for document in documents] == \
            [line.rstrip() for line in path.read_text("utf-8").rstrip("\n").split("\n")]


def test_jsonl_takes_any_text(write):
    text = "a\u2028b\tc\"d\\e 🙂"
    assert read_classification(write(json.dumps({"label": "x", "text": text}) + "\n", "a.jsonl"))[0].text == text


@pytest.mark.parametrize("name, kind", [("a.tsv", ".tsv"), ("b.c/A.CSV.GZ", ".csv"), ("a.b.ndjson.gz", ".jsonl"),
                                        ("a.jsonl", ".jsonl"), ("a.gz", ""), ("a.csv/text", "")])
def test_the_name_says_what_a_file_holds(name, kind):
    assert file_format(name) == file_format(Path(name)) == kind
