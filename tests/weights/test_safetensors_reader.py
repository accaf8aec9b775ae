"""The safetensors reader: one malformed file for each rule of the format, and values against the official library."""
import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from minixl.errors import UserError
from minixl.weights.safetensors_header import MAX_HEADER, read_header
from minixl.weights.safetensors_reader import BLOCK, SafetensorsReader

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(**changes):
    return {"w": F32 | changes}


MALFORMED = {
    "empty": (b"", "not a safetensors file"),
    "short": (b"\0\0\0", "not a safetensors file"),
    "other file": (b"PK\x03\x04 some zip archive", "(a pickled PyTorch file)"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "length 0": (struct.pack("<Q", 0) + b"{}", "not a safetensors file"),
}
BROKEN = {
    "too large": (dict(header=b"{}", length=MAX_HEADER + 1), f"at most {MAX_HEADER} bytes, found {MAX_HEADER + 1}"),
    "truncated header": (dict(header=b"{}", length=99), "truncated: expected a header of 99 bytes, found a file of 10"),
    "bad JSON": (dict(header=b'{"w": }'), "the header is not valid JSON"),
    "bad UTF-8": (dict(header=b'{"\xff": 1}'), "the header is not valid JSON"),
    "deep JSON": (dict(header=b'{"a":' * 100_000), "the header is not valid JSON"),
    "twice": (dict(header=b'{"w": 1, "w": 2}'), "'w' appears twice"),
    "not an entry": (dict(header={"w": 3}), "tensor 'w': expected dtype, shape and data_offsets, found 3"),
    "missing key": (dict(header={"w": {"dtype": "F32"}}), "found ['dtype']"),
    "unknown dtype": (dict(header=entry(dtype="F31"), data=bytes(8)), "tensor 'w': unknown dtype"),
    "dtype not text": (dict(header=entry(dtype=[]), data=bytes(8)), "tensor 'w': unknown dtype"),
    "negative shape": (dict(header=entry(shape=[-2]), data=bytes(8)), "shape: expected a list of whole numbers, found [-2]"),
    "boolean shape": (dict(header=entry(shape=[True]), data=bytes(8)), "shape: expected a list of whole numbers"),
    "offsets swapped": (dict(header=entry(data_offsets=[8, 0]), data=bytes(8)), "data_offsets: expected [start, end]"),
    "offsets negative": (dict(header=entry(data_offsets=[-8, 0]), data=bytes(8)), "data_offsets: expected [start, end]"),
    "three offsets": (dict(header=entry(data_offsets=[0, 8, 9]), data=bytes(8)), "data_offsets: expected [start, end]"),
    "size": (dict(header=entry(shape=[3]), data=bytes(8)), "tensor 'w': size: expected 12 bytes for F32 (3,), found 8"),
    "hole first": (dict(header=entry(data_offsets=[4, 12]), data=bytes(12)), "leaves a hole before it"),
    "hole": (dict(header=entry() | {"v": F32 | {"data_offsets": [12, 20]}}, data=bytes(20)),
             "tensor 'v' leaves a hole before it: expected to begin at byte 8 of the data, found 12"),
    "overlap": (dict(header=entry() | {"v": F32 | {"data_offsets": [4, 12]}}, data=bytes(12)),
                "tensor 'v' overlaps the tensor before it: expected to begin at byte 8 of the data, found 4"),
    "truncated data": (dict(header=entry(), data=bytes(7)), "truncated, or offsets out of the file: tensor 'w'"),
    "trailing": (dict(header=entry(), data=bytes(10)), "found 2 bytes more"),
}


def assert_one_line(error, path, text):
    message = str(error.value)
    assert text in message and str(path) in message and "\n" not in message, message


@pytest.mark.parametrize("content, text", MALFORMED.values(), ids=MALFORMED)
def test_other_files_are_refused(tmp_path, content, text):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_header(path)
    assert_one_line(error, path, text)


@pytest.mark.parametrize("arguments, text", BROKEN.values(), ids=BROKEN)
def test_broken_promises_are_named(tmp_path, arguments, text):
    path = write(tmp_path / "model.safetensors", **arguments)
    with pytest.raises(UserError) as error:
        read_header(path)
    assert_one_line(error, path, text)


def test_an_intact_header_is_accepted(tmp_path):
    path = write(tmp_path / "a", {"__metadata__": {"format": "pt"}, "b": F32 | {"data_offsets": [8, 16]}} | entry(),
                 bytes(16))
    header = read_header(path)
    assert list(header) == ["w", "b"]                          # in the order of the data
    assert header["b"].shape == (2,) and header["b"].end == path.stat().st_size


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        SafetensorsReader(tmp_path / "none.safetensors")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool"])
def test_values_are_those_that_were_written(tmp_path, rng, dtype):
    values = {"empty": np.zeros((0, 3), dtype), "scalar": np.array(3, dtype),
              "w": (rng.normal(size=(5, 7)) * 3).astype(dtype)}
    save_file(values, tmp_path / "a.safetensors")
    checkpoint = SafetensorsReader(tmp_path / "a.safetensors")
    for name, expected in values.items():
        loaded = checkpoint.read(name)
        assert loaded.dtype == dtype and loaded.shape == expected.shape == checkpoint.shape(name)
        np.testing.assert_array_equal(loaded, expected)
        assert loaded.flags.owndata                             # not a view of a file that may go away


@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("target", ["float64", "float32", "float16"])
def test_conversion_over_several_blocks(tmp_path, source, target):
    # An odd number of bytes before w: its data is not aligned.
    torch.manual_seed(3)
    values = torch.randn(2 * BLOCK // 1000 + 7, 1000).to(getattr(torch, source))
    save_torch({"a": torch.zeros(3, dtype=torch.uint8), "w": values}, tmp_path / "a.safetensors")
    checkpoint = SafetensorsReader(tmp_path / "a.safetensors")
    out = np.full(tuple(values.shape), np.nan, target)
    assert checkpoint.read("w", out=out) is out
    np.testing.assert_array_equal(out, values.to(getattr(torch, target)).numpy())


def test_bfloat16_without_out_is_float32(tmp_path):
    save_torch({"w": torch.tensor([1.5, -2.0, float("inf"), 1e-39], dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    values = SafetensorsReader(tmp_path / "a.safetensors").read("w")
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, torch.tensor([1.5, -2.0, float("inf"), 1e-39]).bfloat16().float().numpy())


def test_read_into_the_array_module_under_test(tmp_path, xp, rng):
    values = rng.normal(size=(3, 4)).astype(np.float16)
    save_file({"w": values}, tmp_path / "a.safetensors")
    out = xp.zeros((3, 4), np.float32)
    SafetensorsReader(tmp_path / "a.safetensors").read("w", out=out)
    np.testing.assert_array_equal(out if xp is np else out.get(), values)


@pytest.mark.parametrize("out", [np.zeros((4, 3)), np.zeros((4, 3)).T], ids=["shape", "strided"])
def test_an_unfit_out_is_refused(tmp_path, out):
    save_file({"w": np.zeros((3, 4), np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"C-contiguous out of shape \(3, 4\)"):
        SafetensorsReader(tmp_path / "a.safetensors").read("w", out=out)


@pytest.fixture
def shards(tmp_path, rng):
    values = {f"w{i}": rng.normal(size=(2, 3)).astype(np.float32) for i in range(3)}
    files = {"w0": "model-00001-of-00002.safetensors", "w1": "model-00001-of-00002.safetensors",
             "w2": "model-00002-of-00002.safetensors"}
    for file in set(files.values()):
        save_file({name: values[name] for name in values if files[name] == file}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return tmp_path, values, files


def change_index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards(shards):
    folder, values, files = shards
    checkpoint = SafetensorsReader(folder)
    assert sorted(checkpoint.names()) == sorted(values)
    for name, expected in values.items():
        np.testing.assert_array_equal(checkpoint.read(name), expected)
        assert checkpoint.file(name) == folder / files[name]


def test_a_missing_shard(shards):
    folder, _, files = shards
    (folder / files["w2"]).unlink()
    with pytest.raises(UserError) as error:
        SafetensorsReader(folder)
    assert_one_line(error, folder / files["w2"], "missing; it is one of the 2 shards that model.safetensors.index.json lists")


@pytest.mark.parametrize("change, text", [
    ({"w2": "model-00001-of-00002.safetensors"}, "tensor 'w2' is missing"),
    ({"w9": "model-00001-of-00002.safetensors"}, "tensor 'w9' is missing"),
    ({"w2": "../model-00002-of-00002.safetensors"}, "expected the name of a file in this folder"),
    ({"w2": 3}, "expected the name of a file in this folder, found 3")], ids=["moved", "invented", "outside", "type"])
def test_an_index_that_is_not_true(shards, change, text):
    folder, _, files = shards
    change_index(folder, files | change)
    with pytest.raises(UserError) as error:
        SafetensorsReader(folder)
    assert_one_line(error, folder, text)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": 3}'])
def test_a_broken_index(shards, content):
    folder = shards[0]
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UserError) as error:
        SafetensorsReader(folder)
    assert_one_line(error, folder / "model.safetensors.index.json", "")


def test_a_tensor_in_two_shards(shards):
    folder, values, files = shards
    save_file({"w1": values["w1"], "w2": values["w2"]}, folder / files["w2"])
    with pytest.raises(UserError, match="tensor 'w1' is also in model-00001-of-00002.safetensors"):
        SafetensorsReader(folder)


def test_no_weights(tmp_path):
    with pytest.raises(UserError, match="no weights found; expected model.safetensors"):
        SafetensorsReader(tmp_path)


def test_a_pickle_is_refused_and_the_fix_works(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    values = torch.randn(3, 2)
    torch.save({"w": values.T, "tied": values}, folder / "pytorch_model.bin")
    with pytest.raises(UserError) as error:
        SafetensorsReader(folder)
    assert_one_line(error, folder / "pytorch_model.bin", "expected model.safetensors, found a pickle")
    command = str(error.value).split("convert it with: ")[1]
    assert command.startswith("python -c ")
    subprocess.run(["bash", "-c", command.replace("python", sys.executable, 1)], check=True)
    shutil.move(folder / "pytorch_model.bin", tmp_path / "elsewhere")
    np.testing.assert_array_equal(SafetensorsReader(folder).read("w"), values.T.numpy())
