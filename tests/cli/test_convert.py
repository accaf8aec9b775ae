"""minixl data convert: what it writes and prints, and one clear line for every mistake."""
import pytest
from click.shell_completion import ShellComplete

from minixl.cli.main import cli
from minixl.data.corpus import read_corpus

IOB1 = "Anna I-PER\nBen B-PER\nvive O\n\nParis I-LOC\n"


@pytest.fixture
def convert(minixl, tmp_path, monkeypatch):
    """convert("ner", "a.txt", content, ...) -> (exit code, stdout, stderr), in a folder that has the file."""
    monkeypatch.chdir(tmp_path)

    def call(task, name, content, *options):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return minixl("data", "convert", task, name, *options)
    return call


def test_scheme_and_layout_of_tags(convert, tmp_path):
    assert convert("ner", "a.txt", IOB1, "--out", "b.conll") == (
        0, "b.conll: 2 inputs, 4 words; LOC 1, PER 2; scheme: IOB1 -> IOB2\n", "")
    assert (tmp_path / "b.conll").read_text() == "Anna\tB-PER\nBen\tB-PER\nvive\tO\n\nParis\tB-LOC\n\n"
    code, out, _ = convert("ner", "a.txt", IOB1, "--out", "new/c.jsonl", "--to-scheme", "BIOUL", "--scheme", "IOB1")
    assert code == 0 and out.endswith("; scheme: IOB1 -> BIOUL\n")
    assert (tmp_path / "new" / "c.jsonl").read_text() == (
        '{"tokens": ["Anna", "Ben", "vive"], "ner_tags": ["U-PER", "U-PER", "O"]}\n{"tokens": ["Paris"], "ner_tags": ["U-LOC"]}\n')


def test_parts_of_speech_have_no_scheme(convert, tmp_path):
    row = "1\tAnna\t_\tPROPN\t_\t_\t_\t_\t_\t_\n\n"
    code, out, _ = convert("pos", "a.conllu", row, "--out", "a.txt", "--to-scheme", "BIOUL")
    assert (code, out) == (0, "a.txt: 1 inputs, 1 words; PROPN 1\n")
    assert (tmp_path / "a.txt").read_text() == "Anna\tPROPN\n\n"


def test_columns_and_encoding_of_texts(convert, tmp_path):
    options = ["--out", "b.csv", "--text-column", "body", "--label-column", "kind", "--encoding", "latin-1"]
    assert convert("classification", "a.csv", 'id;kind;body\n1;home;"José; ""aquí"""\n2;home;a\n'.encode("latin-1"), *options) == (
        0, "b.csv: 2 inputs, 3 words; home 2\n", "")
    assert (tmp_path / "b.csv").read_text(encoding="utf-8") == 'label,text\nhome,"José; ""aquí"""\nhome,a\n'


def test_repaired_tags_and_files_that_look_misread_are_reported(convert, tmp_path):
    code, out, _ = convert("ner", "a.txt", "a\tO\nb\tI-X\nc\tB-X\nd\tB-X\n", "--out", "b.txt", "--scheme", "IOB2")
    assert (code, out) == (0, "b.txt: 1 inputs, 4 words; X 3; tags that broke the scheme and were repaired: 1; "
                              "scheme: IOB2 -> IOB2\n")
    assert read_corpus("ner", "", tmp_path / "b.txt").repaired == 0
    code, out, err = convert("classification", "a.csv", "section,body\nhome,a b\nhome,c\nhome,d\n", "--out", "b.tsv")
    assert code == 0 and err.startswith("warning: a.csv:1: the first line looks like a header (section, body); name its columns")
    code, out, err = convert("pos", "a.txt", IOB1, "--out", "b.txt")
    assert code == 0 and err == "warning: a.txt: these look like entity tags; use the task ner\n"


@pytest.mark.parametrize(("task", "content", "options", "said"), [
    ("ner", IOB1, ["--out", "b.csv"], "--out b.csv: expected a name that ends in .txt, .conll or .jsonl, found .csv"),
    ("pos", IOB1, ["--out", "b.conllu"], "--out b.conllu: expected a name that ends in .txt, .conll or .jsonl, found .conllu"),
    ("classification", "x\ty\n", ["--out", "b"], "--out b: expected a name that ends in .tsv, .csv or .jsonl, found 'b'"),
    ("ner", IOB1, ["--out", "here/a.txt"],
     "--out here/a.txt: expected a new file, found one that is read; choose another name"),
    ("ner", "a S-X\nb O\n", ["--out", "b.txt", "--scheme", "IOB2"],
     "a.txt: the sentence on line 1: scheme: expected IOB2 tags (B, I, O), found 'S-X'"),
    ("ner", "a S-X\nb I-X\n", ["--out", "b.txt"],
     "a.txt:2: expected IOBES tags like S-X at a.txt:1, found 'I-X' of another scheme; "
     "use one scheme in the file, or read it as conlleval does with --scheme IOBES"),
    ("ner", "a NN\nb NN\n", ["--out", "b.txt"],
     "a.txt:1: expected entity tags such as B-PER, I-PER and O, found 'NN'; "
     "use the task pos for part-of-speech tags, classification for labelled texts"),
    ("classification", "x\ta\tb\n", ["--out", "b.tsv"],
     r"a.txt:1: expected text that b.tsv can hold, found 'a\tb', which has a tab; write a .csv or .jsonl file"),
    ("ner", b"\xff", ["--out", "b.txt"], "a.txt:1: expected utf-8, found byte 0xff after ''; give the file's encoding, for example "
     "--encoding latin-1")])
def test_mistakes(convert, tmp_path, task, content, options, said):
    (tmp_path / "here").symlink_to(tmp_path)
    assert convert(task, "a.txt", content, *options) == (1, "", f"Error: {said}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "here"]


def test_an_existing_file_is_replaced(convert, tmp_path):
    (tmp_path / "b.txt").write_text("old")
    assert convert("ner", "a.txt", IOB1, "--out", "b.txt")[0] == 0
    assert (tmp_path / "b.txt").read_text().startswith("Anna\tB-PER\n")


def test_completion():
    def offered(*words):
        items = ShellComplete(cli, {}, "minixl", "_").get_completions(list(words[:-1]), words[-1])
        return [(item.value, item.type) for item in items]

    assert offered("data", "conv") == [("convert", "plain")]
    assert offered("data", "convert", "") == [(task, "plain") for task in ("ner", "pos", "classification")]
    assert offered("data", "convert", "ner", "tr") == offered("data", "convert", "ner", "a", "--out", "tr") == [("tr", "file")]
    assert offered("data", "convert", "ner", "a", "--to-scheme", "B") == [("BIOUL", "plain")]
