"""The matrix products of a BERT step: their operations are those that PyTorch counts."""
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig as TorchConfig
from transformers import BertForTokenClassification

from minixl.bench.training.products import ProductRate, step_operations
from minixl.models.bert_config import BertConfig


@pytest.mark.parametrize("frozen", [None, 0, 2], ids=["all trained", "embeddings frozen", "two layers frozen"])
def test_operations_are_those_pytorch_counts(frozen):
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
             "vocab_size": 20}
    model = BertForTokenClassification(TorchConfig(**sizes, num_labels=2, attn_implementation="eager"))
    length = 11
    for name, parameter in model.named_parameters():
        if frozen is not None and name.startswith(("bert.emb", *(f"bert.encoder.layer.{i}." for i in range(frozen)))):
            parameter.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        model(torch.ones(1, length, dtype=torch.long), labels=torch.ones(1, length, dtype=torch.long)).loss.backward()
    head = 3 * 2 * length * 32 * 2
    counted = step_operations(BertConfig(**sizes), [length], -1 if frozen is None else frozen)
    assert counted == counter.get_total_flops() - head
    two = step_operations(BertConfig(**sizes), [length, length], -1 if frozen is None else frozen)
    assert two == 2 * counted


def test_product_rate_counts_one_layer():
    config = BertConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    rate = ProductRate(config, 5)
    assert rate.operations == 3 * 2 * 5 * (4 * 64 + 2 * 128)
    assert rate.measure() > 0
