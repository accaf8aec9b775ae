"""Labelled text in another layout: read back, it is the same text with the same spans and labels; what does not fit is an error."""
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minixl.data.convert import LAYOUTS, check_ending, in_scheme, write_corpus
from minixl.data.corpus import Corpus, read_corpus
from minixl.data.examples import Document, Sentence
from minixl.data.schemes import spans
from minixl.errors import UserError

WORDS = [('"', "#", "Anna", "O'Hara"), ("# 1", "-DOCSTART-x", "''", "a,b;c"), ("København", "東京", "e\u0301", "👩‍🔬", "a\u2028b"),
         ("New York", "label", "text", "\\n")]
TAGS = {"ner": [("O", "B-PER", "I-PER", "B-PER"), ("B-ORG-GPE", "B-LOC", "I-LOC", "O"), ("O",) * 5, ("B-LOC", "O", "O", "B-LOC")],
        "pos": [("PUNCT", "SYM", "PROPN", "NP00000"), ("X", "X", "``", "$"), ("A", "B", "_", "#", "-"), ("N", "N", "N", "X")]}
DOCUMENTS = [("travel", 'She said "no", then; left'), ("#1", "# København 東京 👩‍🔬"), ("a, b", "one"), ("label", "sep=;"),
             ("travel", "'\\t'")]
SPREAD = [("travel", "a tab\tin it"), ("home", "two\nlines\n\nand \r\n more"), ("home", "a\rb"), ("x\ty", "text")]
SCHEMES = ["IOB1", "IOB2", "IOBES", "BIOUL"]
PAIRS = [pytest.param(task, one, other, id=f"{task} {one} {other}") for task in LAYOUTS for one in LAYOUTS[task]
         for other in LAYOUTS[task]]


def sentences(task, words=WORDS, tags=None):
    return Corpus("", "made.txt", task, [Sentence(*pair, 1) for pair in zip(words, tags or TAGS[task], strict=True)])


def documents(*pairs):
    return Corpus("", "made.txt", "classification", [Document(text, label, i) for i, (label, text) in enumerate(pairs, 1)])


def corpus_of(task, one=".jsonl", other=".jsonl"):
    """A corpus that both layouts can hold."""
    return sentences(task) if task != "classification" else documents(*DOCUMENTS, *([] if ".tsv" in (one, other) else SPREAD))


def content(corpus):
    """The words with spans or tags, or the text with its label, of every input."""
    if corpus.task == "ner":
        return [(s.words, spans(s.tags)) for s in corpus.sentences()]
    return [(s.words, s.tags) for s in corpus.sentences()] or [(d.text, d.label) for d in corpus.documents()]


def converted(path, task, new):
    write_corpus(read_corpus(task, "es", path), new)
    return read_corpus(task, "es", new)


@pytest.mark.parametrize(("task", "one", "other"), PAIRS)
def test_every_layout_becomes_every_other(tmp_path, task, one, other):
    made = corpus_of(task, one, other)
    write_corpus(made, tmp_path / f"one{one}")
    assert content(read_corpus(task, "es", tmp_path / f"one{one}")) == content(made)
    assert content(converted(tmp_path / f"one{one}", task, tmp_path / f"other{other}")) == content(made)
    write_corpus(made, tmp_path / f"direct{other}")
    assert (tmp_path / f"other{other}").read_bytes() == (tmp_path / f"direct{other}").read_bytes()


@pytest.mark.parametrize("ending", LAYOUTS["ner"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_stay_in_every_scheme(tmp_path, scheme, ending):
    made = sentences("ner")
    write_corpus(in_scheme(made, scheme), tmp_path / f"a{ending}")
    back = read_corpus("ner", "es", tmp_path / f"a{ending}")
    assert (back.file_scheme, back.repaired) == (scheme, 0) and content(back) == content(made) and back.gold() == made.gold()


def test_the_bytes_that_are_written(tmp_path):
    """UTF-8, line feeds, the usual names of columns and keys."""
    for task, name, expected in [
            ("ner", "a.txt", "é\tB-PER\nb\tI-PER\n\nc\tO\n\n"), ("pos", "a.CONLL", "é\tB-PER\nb\tI-PER\n\nc\tO\n\n"),
            ("ner", "a.jsonl", '{"tokens": ["é", "b"], "ner_tags": ["B-PER", "I-PER"]}\n{"tokens": ["c"], "ner_tags": ["O"]}\n'),
            ("pos", "a.ndjson", '{"tokens": ["é", "b"], "pos_tags": ["B-PER", "I-PER"]}\n{"tokens": ["c"], "pos_tags": ["O"]}\n')]:
        write_corpus(sentences(task, [("é", "b"), ("c",)], [("B-PER", "I-PER"), ("O",)]), tmp_path / name)
        assert (tmp_path / name).read_bytes().decode() == expected
    for name, expected in [("a.tsv", 'x\té "b", c\n'), ("a.csv", 'label,text\nx,"é ""b"", c"\n'),
                           ("a.jsonl", '{"label": "x", "text": "é \\"b\\", c"}\n')]:
        write_corpus(documents(("x", 'é "b", c')), tmp_path / name)
        assert (tmp_path / name).read_bytes().decode() == expected


@pytest.mark.parametrize(("task", "name", "text", "encoding", "expected"), [
    ("ner", "a.txt", "-DOCSTART- -X- O O\n\nJosé NNP I-NP I-PER\r\n\r\n\r\n. . O O\r\n", "latin-1",
     [(("José",), ["PER"]), ((".",), [])]),
    ("ner", "a.jsonl", '{"tokens": [], "ner_tags": []}\n\n{"tokens": ["José"], "ner_tags": ["S-PER"], "id": 7}\n', "utf-8",
     [(("José",), ["PER"])]),
    ("pos", "a.conllu", "# text\n" + "".join(f"{row}\t_\t_\t_\t_\t_\t_\n" for row in (
        "1-2\tdel\t_\t_", "1\tde\tde\tADP", "2\tel\tel\tDET")), "utf-16", [(("de", "el"), ("ADP", "DET"))]),
    ("classification", "a.csv", "sep=;\nid;text;label\n1;\"a\n;b\t\";x\n", "utf-8-sig", [("a\n;b", "x")]),
    ("classification", "a.jsonl", '{"label": 3, "text": " José ", "id": 1}\n', "utf-8", [("José", "3")])])
def test_whatever_is_read_is_written(tmp_path, task, name, text, encoding, expected):
    (tmp_path / name).write_text(text, encoding=encoding, newline="")
    write_corpus(read_corpus(task, "es", tmp_path / name, encoding=encoding), tmp_path / "new.jsonl")
    back = content(read_corpus(task, "es", tmp_path / "new.jsonl"))
    assert (back if task != "ner" else [(words, [kind for kind, _, _ in found]) for words, found in back]) == expected


def test_a_tab_and_line_ends_in_a_csv_text(tmp_path):
    for name in ("a.csv", "b.jsonl", "c.csv"):
        write_corpus(documents(*SPREAD), tmp_path / name)
        assert content(read_corpus("classification", "es", tmp_path / name)) == [(text, label) for label, text in SPREAD]


LETTERS = st.one_of(st.sampled_from('\t\n\r\0 "#,;\\\ufeff\u00a0\u2028\x85\x1cé東A'), st.characters(exclude_categories=["Cs"]))
STRANGE = st.text(LETTERS, max_size=6).map(str.strip).filter(bool)


@settings(deadline=None, max_examples=150)
@given(st.lists(STRANGE, min_size=2, max_size=5), st.sampled_from(list(LAYOUTS["ner"])), st.sampled_from(["ner", "pos"]))
def test_any_words_are_read_back_or_refused(tmp_path_factory, words, ending, task):
    path = tmp_path_factory.mktemp("words") / f"a{ending}"
    made = sentences(task, [tuple(words), ("Anna",)], [("B-PER",) * len(words), ("O",)])
    if write_or_refuse(made, path):
        assert content(read_corpus(task, "es", path)) == content(made)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(STRANGE, STRANGE), min_size=1, max_size=4), st.sampled_from(list(LAYOUTS["classification"])))
def test_any_texts_are_read_back_or_refused(tmp_path_factory, pairs, ending):
    path = tmp_path_factory.mktemp("texts") / f"a{ending}"
    made = documents(*pairs, ("travel", "Anna visits Paris"))
    if write_or_refuse(made, path):
        assert content(read_corpus("classification", "es", path)) == content(made)


def write_or_refuse(made, path):
    """Whether the corpus was written; JSON lines hold everything but white space around words."""
    try:
        write_corpus(made, path)
    except UserError as error:
        assert path.suffix != ".jsonl" and not list(path.parent.iterdir())
        assert re.fullmatch(r"made.txt:\d+: expected text that \S+ can hold, found .*, which .*; write a \.\S+( or \.\S+)* file",
                            str(error))
    return path.exists()


@pytest.mark.parametrize(("task", "entry", "ending", "found", "others"), [
    ("classification", {"label": "x", "text": "a\tb"}, ".tsv", r"'a\tb', which has a tab", ".csv or .jsonl"),
    ("classification", {"label": "x", "text": "a\nb"}, ".tsv", r"'a\nb', which has a line feed", ".csv or .jsonl"),
    ("classification", {"label": "x\ry", "text": "a"}, ".tsv", r"'x\ry', which has a carriage return", ".csv or .jsonl"),
    ("classification", {"label": "x", "text": "a\0b"}, ".csv", r"'a\x00b', which has a zero byte", ".jsonl"),
    ("ner", {"tokens": ["Ben", "a\tb"], "ner_tags": ["O", "O"]}, ".txt", r"'a\tb', which has a tab", ".jsonl"),
    ("pos", {"tokens": ["Ben"], "pos_tags": ["a\nb"]}, ".conll", r"'a\nb', which has a line feed", ".jsonl"),
    ("pos", {"tokens": ["-DOCSTART-"], "pos_tags": ["X"]}, ".txt", "'-DOCSTART-', which is skipped as the start of a document",
     ".jsonl")])
def test_what_a_layout_cannot_hold(tmp_path, task, entry, ending, found, others):
    other = {"label": "home", "text": "Anna"} if task == "classification" else {"tokens": ["Anna"], f"{task}_tags": ["O"]}
    said = refusal(tmp_path, task, [other, entry], ending)
    assert said == f"2: expected text that new{ending} can hold, found {found}; write a {others} file"


@pytest.mark.parametrize(("label", "text", "found"), [
    ("Topic", "text", r"'Topic\ttext', which is read as a header"),
    ("\ufeffx", "y", r"'\ufeffx\ty', which begins with a byte order mark")])
def test_what_the_first_line_of_a_file_cannot_hold(tmp_path, label, text, found):
    entry = {"label": label, "text": text}
    said = refusal(tmp_path, "classification", [entry], ".tsv")
    assert said == f"1: expected text that new.tsv can hold, found {found}; write a .csv or .jsonl file"
    write_corpus(documents(("home", "Anna"), (label, text)), tmp_path / "second.tsv")
    assert content(read_corpus("classification", "es", tmp_path / "second.tsv"))[1] == (text, label)


def refusal(folder, task, entries, ending):
    """The message about a file of these entries, without its name; an earlier file stays."""
    path, new = folder / "a.jsonl", folder / f"new{ending}"
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    new.write_text("as before")
    with pytest.raises(UserError) as error:
        converted(path, task, new)
    assert new.read_text() == "as before" and sorted(folder.iterdir()) == [path, new]
    return str(error.value).removeprefix(f"{path}:")


def test_a_word_with_white_space_around_it(tmp_path):
    (tmp_path / "a.txt").write_text("Anna\tO\n100\u00a0\tO\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a.txt:2: expected text that new.jsonl can hold, found '100\\xa0', which begins or ends "
                                        r"with white space; write a .txt or .conll file$"):
        converted(tmp_path / "a.txt", "ner", tmp_path / "new.jsonl")


@pytest.mark.parametrize(("task", "name"), [("ner", "a.tsv"), ("pos", "a.conllu"), ("ner", "a"), ("classification", "a.txt"),
                                            ("classification", "a.csv.gz")])
def test_an_ending_that_is_no_layout(task, name):
    expected = ".tsv, .csv or .jsonl" if task == "classification" else ".txt, .conll or .jsonl"
    found = "." + name.rpartition(".")[2] if "." in name else "'a'"
    with pytest.raises(UserError, match=f"^--out {name}: expected a name that ends in {expected}, found {found}$"):
        check_ending(task, Path(name))


def test_tags_whose_scheme_a_reader_could_not_detect():
    singles = sentences("ner", [("a", "b")], [("B", "O")])
    assert in_scheme(singles, "IOB1").gold() == [["I", "O"]]
    with pytest.raises(UserError, match="^made.txt: expected types of entities, such as PER, found none; without them IOBES "):
        in_scheme(singles, "IOBES")
    with pytest.raises(UserError, match="^made.txt:1: expected a span tag such as B-PER .*, found 'B'"):
        in_scheme(sentences("ner", [("a", "b", "c")], [("B", "B-PER", "B-LOC")]), "IOB2")
