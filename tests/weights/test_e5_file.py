"""The E5S1 parser on small files, valid and with every kind of fault."""
import numpy as np
import pytest

from minixl.errors import UserError
from minixl.weights.e5_file import E5File

from .e5_writer import PIECES, SIZES, e5_bytes, shapes, tensor_data


@pytest.fixture
def tensors(rng):
    return tensor_data(rng)


def write(tmp_path, content):
    path = tmp_path / "small.bin"
    path.write_bytes(content)
    return path


def test_everything_is_read(tmp_path, tensors):
    file = E5File(write(tmp_path, e5_bytes(tensors)))
    assert file.sizes == {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96,
                          "vocab_size": 14, "max_position_embeddings": 8, "type_vocab_size": 2}
    assert file.eps == 1e-12 and file.specials == {"bos": 0, "eos": 2, "pad": 1, "unk": 3}
    assert file.pieces == PIECES
    assert file.normaliser == {"\t": " ", "ﬁ": "fi", "\xa0": " ", "\x01": ""}
    for name, (_, _, values) in tensors.items():
        np.testing.assert_allclose(file.read(name, shapes()[name], np.float64), values, rtol=1e-7, err_msg=name)
        half = file.read(name, shapes()[name])
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, values, rtol=1 / 2048, atol=1e-7, err_msg=name)


def test_dequantising_part_by_part_is_the_same(tmp_path, tensors):
    from minixl.weights.e5_file import dequantise
    blocks = np.frombuffer(tensors["l0.fi.w"][1], np.uint8).reshape(-1, 18)
    np.testing.assert_array_equal(dequantise(blocks, np.float32, step=7), dequantise(blocks, np.float32))


def test_every_truncation_is_noticed(tmp_path, tensors):
    content = e5_bytes(tensors)
    directory_end = content.index(tensors["emb.word"][1])
    for length in (*range(0, directory_end, 5), directory_end, len(content) - 1):
        with pytest.raises(UserError) as error:
            E5File(write(tmp_path, content[:length]))
        assert "truncated: expected" in str(error.value) and "\n" not in str(error.value)
        assert str(tmp_path / "small.bin") in str(error.value)


SPOILED = {
    "magic": (dict(magic=b"GGUF"), "expected b'E5S1' at the beginning, found b'GGUF'"),
    "version": (dict(version=2), "version: expected 1, found 2"),
    "sizes": (dict(sizes=(-64, *SIZES[1:])), "hidden_size: expected 1 to 2^24, found -64"),
    "block": (dict(block=64), "weights per block: expected 32, found 64"),
    "eps": (dict(eps=float("nan")), "layer_norm_eps: expected 0 < eps < 1, found nan"),
    "special": (dict(specials=(0, 99, 1, 3)), "id of eos: expected 0 to 10, found 99"),
    "no pieces": (dict(count=0), "pieces: expected 1 to 14, found 0"),
    "many pieces": (dict(count=15), "pieces: expected 1 to 14, found 15"),
    "offsets": (dict(offsets=[0, 9, 3] + [3] * 9), "piece offsets: expected rising from 0"),
    "scores": (dict(pieces=[("<s>", float("nan")), *PIECES[1:]]), "piece scores: expected finite numbers"),
    "utf-8": (dict(pieces=[(b"\xff", 0.0), *PIECES[1:]]), "pieces: expected UTF-8, found b'\\xff'"),
    "twice": (dict(pieces=[("a", 0.0), *PIECES[1:]]), "pieces: expected 11 different ones, found 10"),
    "table": (dict(table_extra=b"\0"), "end of the normaliser table: expected byte"),
    "code point": (dict(normaliser={0x110000: "a"}), "code point in the normaliser table: expected 1 to 0x10ffff"),
}


@pytest.mark.parametrize("changes, text", SPOILED.values(), ids=SPOILED)
def test_spoiled_files(tmp_path, tensors, changes, text):
    with pytest.raises(UserError) as error:
        E5File(write(tmp_path, e5_bytes(tensors, **changes)))
    assert text in str(error.value) and "small.bin" in str(error.value) and "\n" not in str(error.value), error.value


@pytest.mark.parametrize("change, text", [
    ((3, b"", np.zeros(0)), "type of tensor 'l0.q.w': expected 0 or 1, found 3"),
    ((0, bytes(8), np.zeros(3)), "bytes of tensor 'l0.q.w': expected 12, found 8"),
    ((1, bytes(20), np.zeros(32)), "bytes of tensor 'l0.q.w': expected 18, found 20")])
def test_spoiled_tensors(tmp_path, tensors, change, text):
    with pytest.raises(UserError, match=text):
        E5File(write(tmp_path, e5_bytes(tensors | {"l0.q.w": change})))


def test_a_tensor_that_is_missing_or_of_another_size(tmp_path, tensors):
    file = E5File(write(tmp_path, e5_bytes(tensors)))
    with pytest.raises(UserError, match="tensor 'l7.q.w' is missing; found 37 tensors"):
        file.read("l7.q.w", (64, 64))
    with pytest.raises(UserError, match=r"weights of tensor 'l0.q.w': expected 2048 \(32, 64\), found 4096"):
        file.read("l0.q.w", (32, 64))


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="none.bin: cannot be read: No such file or directory"):
        E5File(tmp_path / "none.bin")
