"""The layout of what predict reads, by name and by its first lines."""
import pytest

from minixl.data.recognition import recognise_layout, separator_of, table_hint
from minixl.errors import UserError

CONLLU = "1\tanna" + "\t_" * 8


def layout(*lines, name="standard input", task="ner", **options):
    return recognise_layout(lines, name, task, ["home", "travel"] if task == "classification" else ["O", "B-PER"], **options)


@pytest.mark.parametrize(("lines", "tagger", "classifier"), [
    ([], "text", "text"),
    (["", " "], "text", "text"),
    (["anna visited paris ."], "text", "text"),
    (['{"text": "anna"}'], "jsonl", "jsonl"),
    (["", '{"id": 1, "tokens": ["anna"]}'], "jsonl", "jsonl"),
    (['{"body": "anna"}'], "text", "text"),
    (["{anna}", "[1]"], "text", "text"),
    (["id,text", "1,anna"], "csv", "csv"),
    (['"label","text"'], "csv", "csv"),
    (["id;text", "1;anna"], "csv", "csv"),
    (["sep=;", "1;anna"], "csv", "csv"),
    (["Anna, text"], "text", "text"),
    (["Anna; text"], "text", "text"),
    (["text"], "text", "text"),
    (["id\ttext\tlang"], "tsv", "tsv"),
    (["home\tanna visited paris"], "text", "tsv"),
    (["house\tanna visited paris"], "text", "text"),
    (["anna\tB-PER"], "conll", "text"),
    (["text\tO", "anna\tB-PER"], "conll", "tsv"),
    (["anna B-PER"], "text", "text"),
    (["anna B-PER"] * 5, "conll", "text"),
    ([CONLLU], "conll", "text"),
    (["anna"] * 30, "text", "text")])
def test_by_the_lines(lines, tagger, classifier):
    assert layout(*lines) == tagger
    assert layout(*lines, task="classification") == classifier


@pytest.mark.parametrize(("name", "tagger", "classifier"), [
    ("a.jsonl", "jsonl", "jsonl"), ("a.ndjson.gz", "jsonl", "jsonl"), ("a.csv", "csv", "csv"), ("a.tsv", "text", "tsv"),
    ("a.conllu", "conll", "text"), ("a.txt", "text", "text")])
def test_by_the_name(name, tagger, classifier):
    for lines in (["anna lives"], []):
        assert (layout(*lines, name=name), layout(*lines, name=name, task="classification")) == (tagger, classifier)


def test_where_columns_are_expected():
    """Lines that could be texts are columns; objects and tables are recognised all the same."""
    assert layout("anna lives", columns=True) == layout("text", columns=True) == layout(columns=True) == "conll"
    assert layout('{"text": "anna"}', columns=True) == "jsonl" and layout("label,text", columns=True) == "csv"
    assert layout("label;text", columns=True) == layout("sep=,", "text", columns=True) == "csv"


def test_a_named_column():
    for task in ("ner", "classification"):
        assert layout('{"body": "anna"}', task=task, text_column="body") == "jsonl"
        assert layout("id,body", task=task, text_column="body") == "csv"
        assert layout("id;Body", task=task, text_column="body") == layout("sep=;", task=task, text_column="body") == "csv"
        assert layout("id\tbody", task=task, text_column="body") == "tsv"
        assert layout("body", task=task, text_column="body") == "tsv"
        assert layout("anna", name="a.csv", task=task, text_column="body") == "csv"       # the reader says what is missing
        assert layout('{"text": "anna"}', task=task, text_column="body") == "jsonl"
    with pytest.raises(UserError, match="^standard input:2: expected the column 'body' .data.text_column. in the header line, "
                                        "found 'id', 'bodi'; did you mean bodi[?]$"):
        layout("", "id;bodi", "1;anna, ben, paris", text_column="body")


def test_the_separator_of_a_table():
    assert separator_of("tsv", ["a;text"], "x") == "\t" and separator_of("jsonl", ["a;text"], "x") == ""
    for lines, column in ((["\ufeffsep=;\r\n", "text\n"], ""), (["id;text\n"], ""), (["id;Body\n", "1;a, b\n"], "body"),
                          (["id;body\n", "1;a\n"], "bodi")):
        assert separator_of("csv", lines, "x", column) == ";"
    assert separator_of("csv", [], "x") == separator_of("csv", ["well; yes\n", "no; never\n"], "x") == ","


@pytest.mark.parametrize(("separator", "lines", "hint"), [
    (";", ["\ufeffkind;body\n", "home;anna\n", 'home;"ben\n', "lives\n"], False),               # one whole row below it
    (";", ["\ufeffkind;body\n", "home;anna\n", "home;ben\n", 'home;"ben\n'], True),
    (";", ["sep=;\r\n", "kind;body\r\n", "home;anna\r\n", "home;ben\r\n"], True),
    ("\t", ["kind\tbody\r\n", "\n", "home\tanna\r\n", "home\tben"], True),
    ("\t", ["travel\tbody\n", "home\tanna\n", "home\tben\n"], False),                          # a class of the model
    (",", ["id,kind,body\n", "1,home,anna\n", "2,home,ben\n"], False),                           # refused by the reader
    (",", ["text\n", "anna\n", "ben\n"], False), (",", [], False), ("\t", ["\n"], False)])
def test_a_header_with_other_names(separator, lines, hint):
    said = "the first line looks like a header (kind, body); name its columns with --text-column body"
    assert table_hint(separator, lines, "x", ["home", "travel"]) == said * hint
