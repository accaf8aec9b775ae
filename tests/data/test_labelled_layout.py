"""A file for another kind of task, or raw text, given as a labelled file: one line says what it looks like."""
import pytest

from minixl.data.corpus import read_corpus
from minixl.errors import UserError

NER = "Anna\tB-PER\nlives\tO\n.\tO\n\n" * 10
FILES = {
    "ner.txt": NER, "spaces.txt": NER.replace("\t", " "), "pos.txt": "Anna\tPROPN\nlives\tVERB\n.\tPUNCT\n\n" * 10,
    "lower.txt": "Anna np00000 anna\nvive vmip3s0 vivir\n. fp .\n\n" * 10, "two.txt": "I live\n\nI am\n",
    "u.conllu": "1\tAnna\tAnna\tPROPN\t_\t_\t_\t_\t_\t_\n2\tlives\tlive\tVERB\t_\t_\t_\t_\t_\t_\n\n" * 10,
    "raw.txt": "".join(f"Anna lives {'there ' * (i % 5)}.\n" for i in range(30)),
    "topics.txt": "".join(f"{label}\tAnna lives in Paris {i}\n" for i, label in enumerate(["home", "travel"] * 10)),
    "header.txt": "label\ttext\nhome\tAnna\ntravel\tBen\n",
    "topics.csv": "".join(f"{label};Anna lives in Paris {i}\n" for i, label in enumerate(["home", "travel"] * 10)),
    "capitals.txt": "org\tNASA\nperson\tBEN\n" * 3}
WORDS = "expected a label and a text on each line, found columns of words and tags in "
TEXTS = "expected one word and its tag on each line, found a label and a text in "
ENDS = "Anna went to Paris.\nBen lives there now.\n"
RAW = "expected one word and its tag on each line, found texts such as 'Anna lives .'; the labels are missing"


def error_of(tmp_path, task, name, content=None):
    path = tmp_path / name
    path.write_text(content or FILES[name], encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_corpus(task, "es", path)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path}:")


@pytest.mark.parametrize(("tasks", "names", "said"), [
    (["classification"], ["ner.txt", "spaces.txt", "pos.txt", "u.conllu"], f"1: {WORDS}"),
    (["ner", "pos"], ["topics.txt", "header.txt", "topics.csv"], f"1: {TEXTS}"),
    (["ner", "pos"], ["raw.txt"], f"1: {RAW}")])
def test_files_for_another_task(tmp_path, tasks, names, said):
    for task in tasks:
        for name in names:
            assert error_of(tmp_path, task, name).startswith(said), (task, name)


@pytest.mark.parametrize(("task", "names"), [
    ("ner", ["ner.txt", "spaces.txt"]), ("pos", ["pos.txt", "lower.txt", "two.txt", "u.conllu", "ner.txt"]),
    ("classification", ["topics.txt", "header.txt", "topics.csv", "capitals.txt"])])
def test_files_for_the_task_are_read(tmp_path, task, names):
    for name in names:
        (tmp_path / name).write_text(FILES[name])
        assert read_corpus(task, "es", tmp_path / name).inputs


@pytest.mark.parametrize(("content", "first"), [
    (ENDS, "Anna went to Paris."), (ENDS[:20], "Anna went to Paris."), (ENDS + "\n" + ENDS, "Anna went to Paris."),
    ("¿Vive en París?\nAnna vive aquí\n¡No vive aquí!\n", "¿Vive en París?")])
def test_few_texts_that_end_as_sentences_do(tmp_path, content, first):
    """Also where all have as many words as a file of columns."""
    for task in ("ner", "pos"):
        assert error_of(tmp_path, task, "a.txt", content).startswith(f"1: {RAW.replace('Anna lives .', first)}")


def test_a_full_stop_may_be_a_tag(tmp_path):
    (tmp_path / "a.txt").write_text("Anna anna NNP\nlives live VBZ\n. . .\n\nNo no UH\n. . .\n")
    assert len(read_corpus("pos", "es", tmp_path / "a.txt").inputs) == 2


@pytest.mark.parametrize("name", ["ner.txt", "spaces.txt"])
def test_a_line_of_text_among_columns(tmp_path, name):
    content = FILES[name] + "Anna lives in Paris and then goes home .\n\n" + FILES[name]
    for task in ("ner", "pos"):
        said = error_of(tmp_path, task, name, content)
        assert said.startswith("41: expected 2 columns separated by ") and said.endswith(
            "; if this is a text, put each word on its own line")


def test_columns_after_the_texts(tmp_path):
    """The beginning does not show it, the first line that is wrong does."""
    assert error_of(tmp_path, "ner", "ner.txt", NER * 30 + "home\tAnna lives\nB-PER\n").startswith("1202: expected 2 columns")


def test_real_files_are_what_they_are_for(shared):
    files = {"ner": "wikineural/*/test.*", "pos": "pos/*/test.*", "classification": "mtod/*/test.tsv"}
    for task, pattern in files.items():
        paths = sorted((shared / "data").glob(pattern))
        assert paths
        for path in paths[:4]:
            assert read_corpus(task, "es", path).inputs
