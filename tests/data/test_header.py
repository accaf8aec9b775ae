"""Columns and keys with other names; files with semicolons, as Excel writes them where the comma is the decimal mark."""
import json

import pytest

from minixl.data.classification import read_classification
from minixl.data.corpus import check_class_counts, check_labels, joined, read_corpus, read_unlabelled, suspected_headers
from minixl.data.csv_rows import find_separator
from minixl.data.header import Columns, find_header, header_hint
from minixl.errors import UserError

BOTH = Columns("Body", "kind")
TEXTS = [("home", "ben; \"at\" home, now"), ("travel", "anna")]


@pytest.fixture
def write(tmp_path):
    def write(content, name):
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
        return tmp_path / name
    return write


def pairs(documents):
    return [(document.label, document.text) for document in documents]


SEMICOLONS = 'home;"ben; ""at"" home, now"\r\ntravel;anna\r\n'


@pytest.mark.parametrize(("content", "first"), [
    (SEMICOLONS, 1), ("label;text\r\n" + SEMICOLONS, 2), ("\ufeffLabel;Text\n" + SEMICOLONS, 2), ("sep=;\r\n" + SEMICOLONS, 2),
    ("\ufeffsep=;\r\n\r\nlabel;text\r\n" + SEMICOLONS, 4), ('"home";"ben; ""at"" home, now"\n"travel";"anna"\n', 1),
    ('text;id;label\n"ben; ""at"" home, now";1;home\nanna;2;travel\n', 2), ('home,"ben; ""at"" home, now"\ntravel,anna\n', 1),
    ('sep=,\nhome,"ben; ""at"" home, now"\ntravel,anna\n', 2)])
def test_semicolons_and_quotes(write, content, first):
    documents = read_classification(write(content, "a.csv"))
    assert pairs(documents) == TEXTS and [d.line for d in documents] == [first, first + 1]


def test_a_text_over_several_lines(write):
    documents = read_classification(write('sep=;\na;"one\ntwo; three"\nb;four\n', "a.csv"))
    assert [(d.text, d.line) for d in documents] == [("one\ntwo; three", 2), ("four", 4)]


@pytest.mark.parametrize(("content", "expected"), [
    ("news,a; b\nsport,c; d\nnews,e; f\n", [("news", "a; b"), ("sport", "c; d"), ("news", "e; f")]),
    ("news;a, b\nsport;c, d\nnews;e, f\n", [("news", "a, b"), ("sport", "c, d"), ("news", "e, f")]),
    ("a;b,x\nc;d,y\n", [("a;b", "x"), ("c;d", "y")])])
def test_both_marks_on_every_line(write, content, expected):
    """The separator is the one with fewer labels, or the comma."""
    assert pairs(read_classification(write(content, "a.csv"))) == expected


def test_texts_alone_keep_their_semicolons(write):
    path = write("well; yes\nno; never\nwho; me\n", "a.csv")
    assert [d.text for d in read_classification(path, labels=False)] == ["well; yes", "no; never", "who; me"]
    path = write("news;a\nnews;b\nsport;c\nsport;d\n", "b.csv")
    assert [d.text for d in read_classification(path, labels=False)] == list("abcd")


@pytest.mark.parametrize(("name", "content"), [
    ("a.tsv", 'kind\tid\tBody\nhome\t1\tben; "at" home, now\ntravel\t2\tanna\n'),
    ("a.csv", 'id;kind;Body\n1;home;"ben; ""at"" home, now"\n2;travel;anna\n'),
    ("a.csv", 'Body,kind\n"ben; ""at"" home, now",home\nanna,travel\n'),
    ("a.jsonl", "".join(json.dumps({"Body": text, "kind": label, "text": 3}) + "\n" for label, text in TEXTS))])
def test_columns_with_other_names(write, name, content):
    path = write(content, name)
    assert pairs(read_classification(path, columns=BOTH)) == TEXTS
    assert [d.text for d in read_classification(path, labels=False, columns=Columns(text="Body"))] == [t for _, t in TEXTS]
    assert [d.text for d in read_unlabelled("classification", "es", path, columns=BOTH).documents()] == [t for _, t in TEXTS]
    assert len(read_unlabelled("ner", "es", path, columns=BOTH).sentences()) == 2


def test_one_name_and_a_usual_one(write):
    assert pairs(read_classification(write("id\tbody\ttopic\n1\tanna\thome\n", "a.tsv"), columns=Columns("BODY"))) == [
        ("home", "anna")]
    assert pairs(read_classification(write("id,utterance,kind\n1,anna,home\n", "a.csv"), columns=Columns("", "kind"))) == [
        ("home", "anna")]


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_without_labels_a_header_may_name_only_the_text(write, name, mark):
    path = write(f"id{mark}text\n1{mark}anna\n2{mark}ben\n", name)
    assert [d.text for d in read_classification(path, labels=False)] == ["anna", "ben"]


def test_the_same_case_comes_first():
    assert find_header(["text", "Text", "label"], Columns("Text")) == (2, 1)
    assert find_header(["text", "Text", "label"]) == (2, 0)


def test_an_excerpt_that_ends_inside_a_row():
    """The rows before it tell the separator; a mistake elsewhere does not."""
    lines = ['home;"anna, ben"\n', "home;b\n", 'home;"c\n']
    assert find_separator(lines, "a.csv", Columns(), True, more=True) == ";"
    assert find_separator(lines, "a.csv", Columns(), True) == ","
    assert find_separator(['home;"a"b\n', *lines], "a.csv", Columns(), True, more=True) == ","


@pytest.mark.parametrize(("name", "content", "columns", "said"), [
    ("a.tsv", "id\tbody\ttopic\n1\ta\tb\n", Columns("bodi"), "a.tsv:1: expected the column 'bodi' (data.text_column) in the header "
     "line, found 'id', 'body', 'topic'; did you mean body?"),
    ("a.csv", "id;body;topic\n1;a;b\n", Columns("body", "genre"), "a.csv:1: expected the column 'genre' (data.label_column) in the "
     "header line, found 'id', 'body', 'topic'"),
    ("a.csv", "id,body,kind\n1,a,b\n", Columns("", "kind"), "a.csv:1: expected a column text or sentence or utterance "
     "(data.text_column) in the header line, found 'id', 'body', 'kind'"),
    ("a.txt", "home\tanna\n", Columns("body"), "a.txt:1: expected the column 'body' (data.text_column) in the header line, found "
     "'home', 'anna'"),
    ("a.jsonl", '{"id": 1, "text": "x"}\n', Columns("body"), "a.jsonl:1: expected the key 'body', found 'id', 'text'; add it, or "
     "name the key that holds it with --set data.text_column=NAME")])
def test_a_name_that_is_missing_lists_the_columns(write, name, content, columns, said):
    path = write(content, name)
    with pytest.raises(UserError) as error:
        read_classification(path, columns=columns)
    assert str(error.value).removeprefix(f"{path.parent}/") == said


def test_tokens_and_tags_under_other_keys(write):
    path = write('{"words": ["anna", "lives"], "tokens": 1, "gold": ["B-PER", "O"]}\n', "a.jsonl")
    columns = Columns("words", "gold")
    assert read_corpus("ner", "es", path, columns=columns).gold() == [["B-PER", "O"]]
    for task in ("ner", "classification"):
        assert len(read_unlabelled(task, "es", path, columns=columns).inputs) == 1


def test_raw_text_and_columns_of_words_have_no_names(write):
    text, words = write("anna lives\nben\n", "a.txt"), write("anna\tB-PER\n\nben\tB-PER\n", "b.txt")
    for task in ("ner", "classification"):
        assert [len(read_unlabelled(task, "es", path, columns=BOTH).inputs) for path in (text, words)] == [2, 2]
    assert len(read_corpus("ner", "es", words, columns=BOTH).inputs) == 2


ROWS = [["kind", "body"], ["home", "ben lives"], ["travel", "anna"], ["home", "ben"]]


@pytest.mark.parametrize(("rows", "named"), [
    (ROWS, ("body", "kind")), (ROWS[:3], ("body", "kind")), ([row[::-1] for row in ROWS], ("body", "kind")),
    ([["id", "body", "kind"], ["1", "anna, ben", "home"], ["2", "ben", "home"]], ("body", "kind")),
    ([["text", "kind"], *ROWS[1:]], ("text", "kind")), ([["kind", "body"], ["a"], ["b", "c d e", "f"]], ("body", "kind"))])
def test_a_header_with_other_names(rows, named):
    """Also where rows have other numbers of cells; the text is in the column with the most words."""
    said = f"the first line looks like a header ({', '.join(rows[0])}); name its columns with --text-column {named[0]}"
    assert header_hint(rows) == f"{said} --label-column {named[1]}"
    if "text" not in rows[0]:
        assert header_hint(rows, labels=False) == said


@pytest.mark.parametrize("rows", [
    [], ROWS[:2], ROWS[1:], [["home", "ben lives"], *ROWS[2:]], [["kind", "kind"], *ROWS[1:]], [["kind", "ben"], *ROWS[1:]],
    [["kind", ""], *ROWS[1:]], [["kind", " body"], *ROWS[1:]], [["1", "body"], *ROWS[1:]], [["label", "text"], *ROWS[1:]],
    [["kind"], ["a"], ["b"]], [["kind", "b" * 31], *ROWS[1:]]])
def test_other_first_rows(rows):
    assert header_hint(rows) == ""


def test_columns_that_were_named_need_no_hint():
    assert header_hint(ROWS, Columns("body")) == ""


OTHER = {"a.csv": 'kind;body\nhome;"ben; lives"\ntravel;anna\nhome;ben\n', "a.tsv": "kind\tbody\nhome\tben\nhome\tanna\n",
         "wide.tsv": "kind\tbody\tid\nhome\tben is here\t1\nhome\tanna\t2\n"}


@pytest.mark.parametrize("name", OTHER)
def test_a_header_is_no_document(write, name):
    """Of one file, of several with the same header, and of a file that is scored; min_count=1 allows it."""
    corpus = read_corpus("classification", "en", write(OTHER[name], name))
    other = read_corpus("classification", "en", write(OTHER[name], f"b{name}"))
    said = (f"^{corpus.path}:1: expected a label and a text, but the first line looks like a header .kind, body.*; name "
            "its columns with --text-column body --label-column kind$")
    for corpora in ([corpus], [joined([corpus, other])], [corpus, other]):
        with pytest.raises(UserError, match=said):
            check_class_counts(corpora, 2)
        check_class_counts(corpora, 1)
    with pytest.raises(UserError, match=said):
        check_labels(corpus, ["home", "travel"])
    unlabelled = read_unlabelled("classification", "es", corpus.path)
    assert unlabelled.hint.startswith("the first line looks like a header (kind, body")
    assert not read_corpus("classification", "en", corpus.path, columns=Columns("body", "kind")).documents()[0].hint


def test_a_rare_class_in_the_first_line_is_no_header(write):
    """Another file has the class, or the model knows it."""
    first = read_corpus("classification", "en", write("fun\tball\nhome\tben lives\nhome\tben\n", "a.tsv"))
    second = read_corpus("classification", "en", write("home\tben lives\nfun\tball\nhome\tben\n", "b.tsv"))
    assert first.documents()[0].hint and suspected_headers([first])
    assert not suspected_headers([first, second]) and not suspected_headers([joined([first, second])])
    check_class_counts([first, second], 2)
    check_labels(first, ["fun", "home"])


@pytest.mark.parametrize(("name", "content", "said"), [
    ("a.csv", "id,body,kind\n1,anna lives,home\n2,ben,home\n", "1: expected label and text separated by commas, found 3 columns in "
     "'id,body,kind'; the first line looks like a header (id, body, kind); name its columns with --text-column body --label-column "
     "kind"),
    ("a.csv", "kind;body\nhome;ben\nhome;no; anna\n", "3: expected label and text separated by semicolons, found 3 columns in "
     "'home;no; anna'; quote texts with semicolons; the first line looks like a header (kind, body); name its columns with "
     "--text-column body --label-column kind"),
    ("a.csv", "label;text\nhome;ben\nhome;no; anna\n", "3: expected label and text separated by semicolons, found 3 columns in "
     "'home;no; anna'; quote texts with semicolons")])
def test_a_row_that_is_too_long_below_a_header(write, name, content, said):
    path = write(content, name)
    with pytest.raises(UserError) as error:
        read_classification(path)
    assert str(error.value) == f"{path}:{said}"


def test_semicolons_divide_a_header_with_other_names(write):
    lines = ["id;body\n", '7;"anna; ben"\n', "8;\n", "9;paris\n"]
    assert find_separator(lines, "a.csv", Columns(), False) == ";"
    for texts in (lines[1:], ["id; body\n", *lines[1:]]):
        assert find_separator(texts, "a.csv", Columns(), False) == ","
