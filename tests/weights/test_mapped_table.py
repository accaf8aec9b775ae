"""A word table in its file: the rows of any stored type are those of the whole table, to the last bit."""
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from minixl.building.folder import ModelInfo, load_model, save_model
from minixl.errors import UserError
from minixl.models.bert import WORD_TABLE
from minixl.models.transformer import Transformer
from minixl.ops.embedding import embedding_forward
from minixl.prediction import Predictor
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.mapped_table import MappedTable, mapped_table
from minixl.weights.tokenizer import Tokenizer
from tests.tiny import write_encoder

IDS = np.array([3, 0, 499, 3, 17])


@pytest.fixture(params=["float32", "float16", "bfloat16", "float64"])
def table_file(request, tmp_path, rng):
    path = tmp_path / "model.safetensors"
    values = torch.tensor(rng.normal(size=(500, 24))).to(getattr(torch, request.param))
    save_file({"a": torch.ones(3), WORD_TABLE: values}, path)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_those_of_the_whole_table(table_file, dtype):
    whole = np.empty((500, 24), dtype)
    load_parameters(table_file, {WORD_TABLE: whole})
    table = mapped_table(table_file, WORD_TABLE, dtype)
    rows, _ = embedding_forward(IDS, table)
    assert rows.dtype == whole.dtype == table.dtype and table.shape == whole.shape and table.size == whole.size
    np.testing.assert_array_equal(rows, whole[IDS])
    np.testing.assert_array_equal(np.asarray(table), whole)
    rows[...] = 0                                                      # a copy
    np.testing.assert_array_equal(table[IDS], whole[IDS])


def test_a_row_that_is_not_finite_is_noticed_when_it_is_used(tmp_path):
    values = np.ones((5, 4), np.float16)
    values[3, 2] = np.nan
    save_file({WORD_TABLE: torch.tensor(values)}, tmp_path / "model.safetensors")
    table = mapped_table(tmp_path, WORD_TABLE, np.float32)
    assert table[np.array([0, 4])].sum() == 8
    with pytest.raises(UserError, match=rf"model.safetensors: {WORD_TABLE}: expected finite weights, found NaN or infinity; copy"):
        table[np.array([0, 3])]


def test_a_table_that_is_missing(table_file):
    with pytest.raises(UserError, match="model.safetensors: bert.other is missing; the model needs it$"):
        mapped_table(table_file, "bert.other", np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_for_prediction_maps_its_table_and_gives_the_same_bits(tmp_path, dtype):
    encoder = write_encoder(tmp_path / "encoder")
    config, labels = read_config(encoder), ["O", "B-PER", "I-PER"]
    model = Transformer(config, labels, "token")
    model.initialise(np.random.default_rng(0))
    load_parameters(encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")})
    info = ModelInfo("ner", labels, "IOB2", "token", 30)
    save_model(tmp_path / "model", model, Tokenizer(encoder), info, config.raw, dtype)
    mapped, in_memory = Predictor.load(tmp_path / "model", device="cpu"), Predictor(*load_model(tmp_path / "model"))
    assert isinstance(mapped.model.store[WORD_TABLE].value, MappedTable)
    assert isinstance(in_memory.model.store[WORD_TABLE].value, np.ndarray)
    texts = ["anna visited paris .", "ben lives in madrid ."]
    found, expected = (p.tag([text.split() for text in texts]) for p in (mapped, in_memory))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.confidences, theirs.confidences)
        assert ours.tags == theirs.tags
    assert mapped.model.store.count() == in_memory.model.store.count()
    save_model(tmp_path / "copy", mapped.model, mapped.tokenizer, info, config.raw, dtype)
    assert (tmp_path / "copy/model.safetensors").read_bytes() == (tmp_path / "model/model.safetensors").read_bytes()
