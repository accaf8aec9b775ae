"""Raw text and what every reader shares: encodings, gzip, line endings, and the text of every error."""
import gzip
import itertools
from functools import partial

import pytest

from minixl.data import lines
from minixl.data.lines import quoted, raw_lines, read_lines
from minixl.data.text import read_text
from minixl.errors import UserError, nearest


@pytest.fixture
def write(tmp_path):
    """Writes bytes and gives the path."""
    def write(content, name="text.txt"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name
    return write


def error_of(call):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("content, encoding", [
    ("Größe\n\n  \n Ähre \n".encode(), "utf-8"),
    ("\ufeffGröße\r\n\r\nÄhre".encode(), "utf-8"),
    ("Größe\nÄhre\n".encode("latin-1"), "latin-1"),
    ("Größe\n\nÄhre\n".encode("utf-16"), "utf-16"),
    ("Größe\r\nÄhre".encode("utf-16-le"), "utf-16-le"),
    (gzip.compress("Größe\nÄhre\n".encode(), mtime=0), "utf-8"),
    (gzip.compress("Größe\n".encode(), mtime=0) + gzip.compress("Ähre\n".encode(), mtime=0), "utf-8"),
], ids=["blank lines", "mark and CRLF", "latin-1", "utf-16", "utf-16-le", "gzip", "two gzip members"])
def test_reads_the_same_text(write, content, encoding):
    documents = read_text(write(content), encoding=encoding)
    assert [document.text for document in documents] == ["Größe", "Ähre"] and documents[0].line == 1 < documents[1].line


def test_only_a_line_feed_ends_a_line(write):
    path = write("a\u2028b\x85c\x0bd\re\nf".encode())
    assert list(read_lines(path)) == ["a\u2028b\x85c\x0bd\re", "f"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lines_of_an_old_mac(write, encoding):
    """Only a file without any line feed has carriage returns as line ends."""
    path = write("a\rb\r\rc".encode(encoding))
    assert list(read_lines(path, encoding)) == ["a", "b", "", "c"]
    assert [line[-1] for line in raw_lines(path, encoding)] == ["\r", "\r", "\r", "c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_that_is_too_long(write, monkeypatch, encoding):
    monkeypatch.setattr(lines, "MAX_LINE", 9)
    monkeypatch.setattr(lines, "MAX_BYTES", 36)
    text = "a\nbbbbbbbb\n"
    assert list(read_lines(write(text.encode(encoding)), encoding)) == ["a", "bbbbbbbb"]
    for long in ("b" * 10, "b" * 1000):
        path = write((text + long).encode(encoding))
        assert error_of(partial(list, read_lines(path, encoding))) == (
            f"{path}:3: expected a line of at most 9 characters, found a longer one; is this a text file? If so, divide the line")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_without_end(encoding):
    assert error_of(lambda: list(read_lines("/dev/zero", encoding))).startswith(
        "/dev/zero:1: expected a line of at most 10,000,000 characters, found a longer one")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_raw_lines_can_be_written_again(write, encoding):
    content = "\ufeffa\r\n\r\nb\u2028c\n d\t".encode(encoding)
    assert "".join(raw_lines(write(content), encoding)).encode(encoding) == content


def test_streams(write):
    """The first lines come before a fault further on is met."""
    path = write(b"one\n" * 1000 + b"\xff\n")
    assert list(itertools.islice(read_lines(path), 2)) == ["one", "one"]


def test_a_missing_file_and_its_neighbour(write, tmp_path):
    write(b"a\n", "train.txt")
    assert error_of(lambda: read_text(tmp_path / "trian.txt")) == \
        f"{tmp_path}/trian.txt: expected a file, found nothing; did you mean train.txt?"
    assert error_of(lambda: read_text(tmp_path / "no" / "x.txt")) == \
        f"{tmp_path}/no/x.txt: expected a file, found nothing (there is no directory {tmp_path}/no either); check the path"


def test_a_directory(write, tmp_path):
    path = write(b"a\n")
    assert error_of(lambda: read_text(tmp_path)) == \
        f"{tmp_path}: expected a file, found a directory; give a file in it, such as {path}"


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"")], ids=["nothing", "blank", "gzip of nothing"])
def test_an_empty_file(write, content):
    path = write(content)
    assert error_of(lambda: read_text(path)) == \
        f"{path}: expected one sentence or paragraph per line, found no text; is this the right file?"


@pytest.mark.parametrize("content, encoding, message", [
    (b"a\nGr\xf6\xdfe\n", "utf-8", "2: expected utf-8, found byte 0xf6 after 'Gr'; "
     "give the file's encoding, for example --set data.encoding=latin-1"),
    (b"a \x93quoted\x94\n", "utf-8", "1: expected utf-8, found byte 0x93 after 'a '; "
     "give the file's encoding, for example --set data.encoding=cp1252"),
    ("a\n".encode("utf-16"), "utf-8", "1: expected utf-8, found byte 0xff after ''; "
     "give the file's encoding, for example --set data.encoding=utf-16"),
    ("a\nGröße\n".encode(), "ascii", "2: expected ascii, found byte 0xc3 after 'Gr'; "
     "give the file's encoding, for example --set data.encoding=utf-8"),
    ("a\nb".encode("utf-16") + b"x", "utf-16", "2: expected utf-16, found bytes that are not valid in it; "
     "give the file's encoding, for example --set data.encoding=utf-8"),
    ("a\nb\n".encode("utf-16-le"), "utf-8", "1: expected text, found a zero byte; "
     "give a text file (or, for UTF-16 text, --set data.encoding=utf-16)"),
], ids=["latin-1", "cp1252", "utf-16", "ascii", "odd utf-16", "zero byte"])
def test_bytes_of_another_encoding(write, content, encoding, message):
    path = write(content)
    assert error_of(lambda: read_text(path, encoding=encoding)) == f"{path}:{message}"


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "undefined", "idna", "punycode", "utf-8\0"])
def test_an_unknown_encoding(write, encoding):
    path = write(b"a\n")
    assert error_of(lambda: read_text(path, encoding=encoding)) == \
        f"data.encoding: expected an encoding such as utf-8, latin-1 or utf-16, found {encoding!r}"


def test_a_gzip_file_cut_short(write):
    path = write(gzip.compress(b"a\n" * 9)[:-9], "text.txt.gz")
    assert "expected a complete gzip file, found a damaged one" in error_of(lambda: read_text(path))


def test_helpers_of_messages():
    assert nearest("B-PRE", ["B-PER", "O"]) == "; did you mean B-PER?"
    assert nearest("zzz", ["B-PER", "O"]) == ""
    assert quoted("a\nb") == r"'a\nb'" and quoted("x" * 50, 3) == "'xxx…'"
