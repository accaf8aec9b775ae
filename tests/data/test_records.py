"""The inputs of predict: what a record holds, what is kept of its source, and mistakes with file and line."""
import csv

import pytest

from minixl.data.records import object_records, table_records, text_records
from minixl.errors import UserError


def objects(text, keys=("text", "tokens")):
    return list(object_records(text.splitlines(True), "x.jsonl", keys))


def table(text, separator=",", column=""):
    return list(table_records(text.splitlines(True), "x.csv", separator, column))


def test_texts():
    assert [(r.line, r.content) for r in text_records(["\ufeffanna \r\n", "\n", " \n", "ben"])] == [
        (1, "anna "), (2, ""), (3, " "), (4, "ben")]


def test_objects_as_they_stand():
    """Blank lines become objects without words, so that line n stays line n."""
    found = objects('\ufeff{"text": "anna", "id": 1.50}\r\n \n{"id": 2, "text": ""}\n')
    assert [(r.line, r.source, r.content) for r in found] == [
        (1, '{"text": "anna", "id": 1.50}', "anna"), (2, '{"text": ""}', ""), (3, '{"id": 2, "text": ""}', "")]
    found = objects('{"tokens": ["anna ", "lives"], "text": "x"}\n\n{"tokens": []}\n', ("tokens", "text"))
    assert [r.content for r in found] == [("anna", "lives"), (), ()] and found[1].source == found[2].source == '{"tokens": []}'
    assert objects('{"body": "anna"}\n', ("body",))[0].content == "anna"


@pytest.mark.parametrize(("lines", "message"), [
    ("[1]", "1: expected a JSON object with the keys 'text' or 'tokens', found '\\[1\\]'"),
    ("{}", "1: expected the key 'text' or 'tokens', found none; add it, or name the key that holds "
     "it with --set data.text_column=NAME"),
    ('{"text": "a"}\n{"tokens": ["a"]}', "2: expected the key 'text', found 'tokens'; add it, or name the key"),
    ('{"text": 5}', "1: expected a text or a list of words that are not empty for 'text', found '5'; correct it"),
    ('{"text": null}', "1: expected a text or a list of words .* found 'null'"),
    ('{"tokens": ["a", " "]}', "1: expected a text or a list of words that are not empty for 'tokens'"),
    ('{"tokens": ["a", 1]}', "1: expected a text or a list of words that are not empty for 'tokens'"),
    ('{"tokens": ["a\\nb"]}', "1: expected words for 'tokens', found a tab or a line end in 'a\\\\nb'; split it"),
    ('{"text": "a\\ud800"}', "1: expected valid Unicode in 'text', found half of a surrogate pair"),
    ('{"text": "a", "prediction": 1}', "1: the key 'prediction' is already there; rename it"),
    ('{"text": "a"', "1: expected one JSON object per line")])
def test_objects_that_are_refused(lines, message):
    with pytest.raises(UserError, match=f"^x.jsonl:{message}"):
        objects(lines)


def test_rows_as_they_stand():
    """A quoted row of two lines, blank lines, a row of empty cells, no line end at the end."""
    text = '\ufeffid,text\r\n1,"anna, ""the"" ben\r\nparis"\r\n\r\n,\r\n2, \r\n3,ben'
    found = table(text)
    assert "".join(r.source for r in found) == text
    assert [(r.line, r.content) for r in found] == [
        (1, None), (2, 'anna, "the" ben\r\nparis'), (4, None), (5, None), (6, ""), (7, "ben")]
    assert found[1].cells["id"] == "1" and found[0].cells == {"id": "id", "text": "text"} and found[2].cells is None
    assert [next(csv.reader([r.source]))[0] for r in (found[4], found[5])] == ["2", "3"]


def test_semicolons_as_they_stand():
    """The line sep=; stands before the rows, whose lines are counted with it."""
    text = '\ufeffsep=;\r\nid;Text\r\n\r\n1;"anna; ""the"" ben\r\nparis"\r\n;\r\n2;ben, home'
    found = table(text, ";")
    assert "".join(r.source for r in found) == text
    assert [(r.line, r.content) for r in found] == [
        (1, None), (2, None), (3, None), (4, 'anna; "the" ben\r\nparis'), (6, None), (7, "ben, home")]
    assert found[0].cells is None and found[3].cells == {"id": "1", "Text": 'anna; "the" ben\r\nparis'}
    with pytest.raises(UserError, match="^x.csv:3: expected semicolon-separated values, found an invalid row"):
        table('sep=;\ntext\n"anna\n', ";")


def test_tabs_without_a_header():
    found = table('home\tanna "x\tben\n\nhome\tben\n', "\t")
    assert [(r.line, r.content) for r in found] == [(1, 'anna "x\tben'), (2, None), (3, "ben")]
    assert found[0].cells == {"label": "home", "text": 'anna "x\tben'}
    assert [r.content for r in table("anna\nben lives\n", "\t")] == ["anna", "ben lives"]


def test_columns_of_a_header():
    """Names in any order; a name that is missing or there twice gets its number."""
    found = table("a,,Sentence,a\n1,2,anna,3\n")
    assert found[1].content == "anna" and found[1].cells == {"a": "1", "column_2": "2", "Sentence": "anna", "a_4": "3"}
    assert table("label\tutterance\nx\tanna\n", "\t")[1].content == "anna"
    assert table("text,body\nx,anna\n", ",", "body")[1].content == "anna"
    assert table("text\tbody\nx\tanna\tben\n", "\t", "body")[1].content == "anna\tben"


@pytest.mark.parametrize(("text", "separator", "column", "message"), [
    ("id,text\n1\n", ",", "", "2: expected 2 columns separated by commas, found 1 in '1'; correct the line"),
    ("a\nb\tc\n", "\t", "", "2: expected 1 column separated by a tab, found 2 in 'b.tc'; correct the line"),
    ("1,anna,x\n", ",", "", "1: expected a header with the column 'text', or label and text separated by commas, found 3 columns"),
    ("id,body\n1,anna\n", ",", "bodi", "1: expected the column 'bodi' .data.text_column. in the header line, found 'id', 'body'; "
     "did you mean body?"),
    ("text,prediction\na,b\n", ",", "", "1: the column 'prediction' is already there; rename it"),
    ("text,confidence\na,b\n", ",", "", "1: the column 'confidence' is already there; rename it"),
    ('text\n"anna\n', ",", "", "2: expected comma-separated values, found an invalid row")])
def test_tables_that_are_refused(text, separator, column, message):
    with pytest.raises(UserError, match=f"^x.csv:{message}"):
        table(text, separator, column)


@pytest.mark.parametrize("make", [lambda lines: text_records(lines), lambda lines: object_records(lines, "x", ("text",)),
                                  lambda lines: table_records(lines, "x", ";"), lambda lines: table_records(lines, "x", "\t")])
def test_no_line_is_read_ahead(make):
    """A pipe that waits for its answer sends no further line."""
    taken = []

    def lines():
        for line in ['{"text": ""}\n'] * 3:
            taken.append(line)
            yield line
    records = make(lines())
    for count in (1, 2, 3):
        next(records)
        assert len(taken) == count
