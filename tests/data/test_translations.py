"""Texts in two languages: both input forms, labels, blank lines, and every message."""
import gzip
from pathlib import Path

import pytest

from minixl.data.translations import LanguagePair, parse_pairs, read_pair, read_probed
from minixl.errors import UserError


@pytest.fixture
def pair(tmp_path):
    """pair({"a.txt": content, ...}) -> a LanguagePair of those files."""
    def make(files):
        for name, content in files.items():
            data = content.encode()
            (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return LanguagePair("en", "es", tuple(tmp_path / name for name in files))
    return make


def texts(found):
    return [d.text for d in found.source], [d.text for d in found.target]


@pytest.mark.parametrize("name", ["p.tsv", "p.txt", "p.tsv.gz", "p"])
def test_one_file(pair, name):
    found = read_pair(pair({name: "\ufeffOne.\tUno.\r\n\r\nTwo. \t Dos.\n"}))
    assert texts(found) == (["One.", "Two."], ["Uno.", "Dos."]) and found.left_out == 0
    assert [d.line for d in found.source] == [1, 3] and found.source[0].label is None


@pytest.mark.parametrize(("source", "target"), [
    ({"a.txt": "One.\nTwo.\n"}, {"b.txt": "Uno.\nDos."}),
    ({"a.txt": "travel\tOne.\nhome\tTwo.\n"}, {"b.txt.gz": "Uno.\nDos.\n"}),            # a tab in every line: labels
    ({"a.tsv": "travel\tOne.\nhome\tTwo.\n"}, {"b.csv": "label,text\nx,Uno.\ny,Dos.\n"}),
    ({"a.tsv.gz": "label\ttext\nx\tOne.\ny\tTwo.\n"}, {"b.jsonl": '{"text": "Uno."}\n{"text": "Dos."}\n'}),
    ({"a.tsv": "One.\nTwo.\n"}, {"b": "Uno.\n\nDos.\n".replace("\n\n", "\n")}),
])
def test_two_files(pair, source, target):
    assert texts(read_pair(pair(source | target))) == (["One.", "Two."], ["Uno.", "Dos."])


def test_a_label_is_dropped_only_where_every_line_has_a_tab(pair):
    found = read_pair(pair({"a.txt": "x\ta\nb c\n", "b.txt": "1\n2\n"}))
    assert texts(found)[0] == ["x\ta", "b c"]
    found = read_pair(pair({"a.txt": "x\ta\nb\tc\td\n", "b.txt": "1\n2\n"}))          # only the first tab ends a label
    assert texts(found)[0] == ["a", "c\td"]


SENTENCES = [["Ana", "vive", "en", "París"], ["Ben"]]
NER = {"Ana": "B-per", "París": "B-LOC", "Ben": "B-per"}
POS = {"Ana": "PROPN", "vive": "VERB", "en": "ADP", "París": "PROPN", "Ben": "PROPN"}


@pytest.mark.parametrize("divider", ["\t", " ", "\tx\t"])
@pytest.mark.parametrize("tags", [NER, POS], ids=["ner", "pos"])
@pytest.mark.parametrize("name", ["es.conll", "es.tsv.gz"])
def test_the_texts_of_columns_are_sentences(pair, divider, tags, name):
    columns = "".join("".join(f"{word}{divider}{tags.get(word, 'O')}\n" for word in words) + "\n" for words in SENTENCES)
    found = read_pair(pair({"en.txt": "Ana lives in Paris\nBen\n", name: "-DOCSTART- -X- O\n\n".replace(" ", divider) + columns}))
    assert texts(found) == (["Ana lives in Paris", "Ben"], ["Ana vive en París", "Ben"])
    assert [d.line for d in found.target] == [3, 8]
    one = read_pair(pair({"a.conll": columns, "b.conll": columns}), limit=1, least=1, translated=False)
    assert texts(one) == (["Ana vive en París"], ["Ana vive en París"])                 # sentences are counted, not lines


@pytest.mark.parametrize("content", ["Ana\tB-PER\nvive\tO\n\nBen\tB-PER\n", "Ana PROPN\nvive VERB\n"])
def test_columns_are_not_pairs(pair, content):
    with pytest.raises(UserError, match=r"p.tsv: expected source and target separated by a tab, found words and their tags; put"):
        read_pair(pair({"p.tsv": content}))


def test_texts_that_partly_look_like_columns_are_not(pair):
    """Texts of numbers, of one word each, of capitals with spaces, or equally long ones."""
    for column in (["1", "2"], ["Uno", "DOS"], ["A B", "C"], ["今天", "很好"], ["B-Seite hören", "O ja"], ["Ок", "ДА"]):
        found = read_pair(pair({"a.txt": "".join(f"x\t{text}\n" for text in column), "b.txt": "eins zwei\nvier fünf\n"}))
        assert texts(found) == (column, ["eins zwei", "vier fünf"])


def test_training_and_test_texts(pair):
    files = pair({"a": "a\nb\n", "b": "1\n2\n", "c": "c\nd\n\ne\n", "d": "3\n4\n"})
    assert [texts(found) for found in read_probed(files)] == [(["a", "b"], ["1", "2"]), (["c", "d", "e"], ["3", "4"])]
    assert [texts(found) for found in read_probed(files._replace(paths=files.paths[:2]))] == [(["a", "b"], ["1", "2"])]
    with pytest.raises(UserError, match=r"c,.*d: expected at least 3 texts of each language, found 2"):
        read_probed(files._replace(paths=files.paths[2:] * 2), least=3)


def test_pairs_with_an_empty_side_are_left_out_and_the_others_stay_together(pair):
    found = read_pair(pair({"a.txt": "a\n\nc\n\ne\n", "b.txt": "1\n2\n\n\n5\n"}))
    assert texts(found) == (["a", "e"], ["1", "5"]) and found.left_out == 2             # line 4 is empty on both sides
    found = read_pair(pair({"p.tsv": "a\t1\n\t2\nc\t\ne\t5\n"}))
    assert texts(found) == (["a", "e"], ["1", "5"]) and found.left_out == 2


def test_limit(pair):
    files = pair({"a.txt": "a\nb\nc\n", "b.txt": "1\n2\n3\n"})
    assert texts(read_pair(files, limit=2)) == (["a", "b"], ["1", "2"])
    with pytest.raises(UserError, match=r"expected at least 2 pairs of texts, found 1; raise --limit$"):
        read_pair(files, limit=1)


def test_texts_that_are_not_translations(pair):
    files = pair({"a.txt": "a\n\nc\n", "b.txt": "1\n2\n3\n4\n"})
    assert texts(read_pair(files, translated=False)) == (["a", "c"], ["1", "2", "3", "4"])
    with pytest.raises(UserError, match=r"a.txt,.*b.txt: expected at least 4 texts of each language, found 2; give a larger file$"):
        read_pair(files, translated=False, least=4)


@pytest.mark.parametrize(("files", "said"), [
    ({"a.txt": "a\nb\nc\n", "b.txt": "1\n2\n"},
     "b.txt: expected as many texts as {folder}/a.txt, 3, found 2; text n must be the translation of text n"),
    ({"a.tsv": "x\ta\ny\tb\n", "b.tsv": "x\t1\ny\t2\nz\t3\n"}, "b.tsv: expected as many texts as {folder}/a.tsv, 2, found 3"),
    ({"p.tsv": "a\t1\n\nb 2\n"}, "p.tsv:3: expected source and target separated by a tab, found no tab in 'b 2'; write the "
                                 "translation after a tab, or give two files, FILE,FILE"),
    ({"p.tsv": "a\t1\nb\t2\t3\n"}, "p.tsv:2: expected source and target separated by a tab, found 3 columns in 'b\\t2\\t3'; keep"),
    ({"p.tsv": ""}, "p.tsv: expected a text, a tab and its translation on each line, found no text; is this the right file?"),
    ({"a.txt": "\n \n", "b.txt": "1\n2\n"}, "a.txt: expected a sentence or paragraph on each line, found no text"),
    ({"a.tsv": "\n \n", "b.txt": "1\n2\n"}, "a.tsv: expected text in en, found none; is this the right file?"),
    ({"a.txt": "a\n\n", "b.txt": "1\n2\n"}, "b.txt: expected at least 2 pairs of texts, found 1; give a larger file"),
    ({"p.txt": "a\t1\n"}, "p.txt: expected at least 2 pairs of texts, found 1"),
    ({"p.tsv": "travel\tI fly.\nhome\tI live.\n\n" * 10},
     "p.tsv: expected source and target separated by a tab, found labels such as 'home' in column 1; put the texts of each "
     "language in a separate file, FILE,FILE"),
    ({"p.tsv": "I fly.\ttravel\nI live.\thome\n\n" * 10}, "found labels such as 'home' in column 2; put the texts of each"),
])
def test_mistakes(pair, tmp_path, files, said):
    with pytest.raises(UserError) as error:
        read_pair(pair(files))
    assert said.format(folder=tmp_path) in str(error.value) and str(error.value).startswith(str(tmp_path))


def test_pairs_of_words_are_not_labels(pair):
    assert len(read_pair(pair({"p.tsv": "fly\tvolar\nlive\tvivir\n" * 10})).source) == 20
    assert len(read_pair(pair({"p.tsv": "I fly.\tVuelo yo.\nI live.\tVivo yo.\n" * 10})).source) == 20


@pytest.mark.parametrize("option", ["--translations", "--probe"])
def test_two_languages(option):
    with pytest.raises(UserError) as error:
        parse_pairs(["en-es=a", "en-en=a,b"], option)
    assert str(error.value) == (f"{option} en-en=a,b: expected two languages, found en twice; to compare two texts in one "
                                "language, use two names, such as en1-en2")


def test_parse_pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one,file.txt").touch()
    assert parse_pairs(["en-es=a.txt", "en-zh_Hans=a,b", "de-nl=one,file.txt"], "--translations") == [
        ("en", "es", (Path("a.txt"),)), ("en", "zh_Hans", (Path("a"), Path("b"))), ("de", "nl", (Path("one,file.txt"),))]
    assert parse_pairs(["en-es=a.txt"], "--probe")[0].name == "en-es"
    assert parse_pairs(["en-es=a,b,c,d"], "--probe")[0].paths == (Path("a"), Path("b"), Path("c"), Path("d"))


@pytest.mark.parametrize("text", ["en=a.txt", "en-es", "en-es=", "-es=a", "en-=a", "en-es-de=a", "en-es=a,b,c",
                                  "en-es=a,b,c,d", "en-es=a,", "=a"])
def test_malformed_pairs(text):
    with pytest.raises(UserError) as error:
        parse_pairs([text], "--translations")
    assert str(error.value).startswith(f"--translations {text}: expected SOURCE-TARGET=FILE or SOURCE-TARGET=FILE,FILE, for ex")


def test_four_files_are_for_the_probe():
    with pytest.raises(UserError, match=r"^--probe en-es=a,b,c: expected .* \(to train on, to test on: FILE,FILE,TEST,TEST\), for"):
        parse_pairs(["en-es=a,b,c"], "--probe")


def test_a_pair_given_twice():
    with pytest.raises(UserError, match="^--probe en-es=...: given twice; expected each pair of languages once$"):
        parse_pairs(["en-es=a", "en-de=a", "en-es=b"], "--probe")
