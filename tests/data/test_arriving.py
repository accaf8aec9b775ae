"""A pipe read as its data arrive: lines, whether the next one is there, the end."""
import io
import os
import tempfile

import pytest

from minixl.data.arriving import Arriving, arrives


@pytest.fixture
def pipe():
    """The reader of a pipe, and a function that writes into it; None closes it."""
    reading, writing = os.pipe()
    opened = [writing]

    def write(data):
        os.close(opened.pop()) if data is None else os.write(writing, data)
    yield Arriving(reading), write
    for descriptor in (reading, *opened):
        os.close(descriptor)


def test_a_line_is_there_when_it_has_its_end(pipe):
    reader, write = pipe
    assert not reader.line_is_here()
    write(b"anna\nben")
    assert reader.line_is_here() and reader.readline() == b"anna\n"
    assert not reader.line_is_here()
    write(b" lives\n\n")
    assert reader.line_is_here() and reader.readline(100) == b"ben lives\n"
    assert reader.line_is_here() and reader.readline() == b"\n"
    write(b"paris")
    assert not reader.line_is_here()
    write(None)
    assert reader.line_is_here() and [reader.readline(), reader.readline(), reader.readline()] == [b"paris", b"", b""]
    assert reader.line_is_here()                                      # the end needs no waiting either


def test_a_part_of_a_line_and_blocks(pipe):
    reader, write = pipe
    write(b"abcdef\nghi")
    write(None)
    assert [reader.readline(4), reader.readline(4), reader.read(2), reader.read()] == [b"abcd", b"ef\n", b"gh", b"i"]
    assert reader.read() == reader.read(3) == b""


def test_only_pipes_and_terminals_arrive(pipe):
    with tempfile.TemporaryFile() as file, open(os.devnull) as null:
        assert not arrives(file) and not arrives(null) and not arrives(io.BytesIO()) and not arrives(None)
    with os.fdopen(os.dup(pipe[0].descriptor)) as file:
        assert arrives(file)
