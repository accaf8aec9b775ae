"""docs/scaling.py: its table stands in the page, and its figures are those of the code."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from minixl.models.bert_config import BertConfig, encoder_shapes
from minixl.training.summing import BUCKET

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.py"


@pytest.fixture
def paper():
    specification = importlib.util.spec_from_file_location("scaling", PAGE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_table_stands_in_the_page(paper, capsys):
    assert paper.main(["--check"]) == 0
    assert paper.main([]) == 0
    assert capsys.readouterr().out in PAGE.with_suffix(".md").read_text(encoding="utf-8")


def test_sizes_are_those_of_the_code(paper):
    config = BertConfig.from_json({"model_type": "bert", "vocab_size": 119547, "hidden_size": 768, "num_hidden_layers": 12,
                                   "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512,
                                   "type_vocab_size": 2, "hidden_act": "gelu"})
    sizes = [int(np.prod(shape)) for name, shape in encoder_shapes(config, pooler=False).items() if ".layer.0." in name]
    assert sum(sizes) == paper.LAYER and paper.BUCKET == pytest.approx(4 * BUCKET, rel=0.05)


@pytest.mark.parametrize("setup", [0, 1])
def test_the_formulas(paper, setup):
    setup = paper.SETUPS[setup]
    one, eight, many = (paper.bytes_of(setup, gpus, 32) for gpus in (1, 8, 64))
    assert one == 0 < eight < many < 2 * 4 * (12 * paper.LAYER + 119547 * 768)
    compute, transfer, step = paper.seconds_of(setup, 8, 1.25e9)
    assert max(compute, transfer) < step < compute + transfer
    assert paper.seconds_of(setup, 8, 1e15)[2] == pytest.approx(paper.seconds_of(setup, 1, 1e15)[2], rel=0.1)
