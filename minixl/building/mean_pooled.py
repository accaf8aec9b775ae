"""Files with which `transformers` loads a classifier on the mean of the last hidden states, a head that it does not have.

config.json has a model type of its own: with that of the encoder, AutoModelForSequenceClassification would silently put a
random pooler between encoder and head.  With it, it asks for trust_remote_code=True, which loads modeling_minixl.py.
Test: tests/building/test_mean_pooled.py
"""
from __future__ import annotations

from typing import Any

from minixl.models.bert_config import MEAN_POOLED

FILE = "modeling_minixl.py"
MODELING = '''"""A {classes} with a linear classifier on the mean of its last hidden states, as minixl trains it."""
from torch import nn
from transformers import {classes}Config, {classes}Model, {classes}PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPooledConfig({classes}Config):
    model_type = "{model_type}"


class MeanPooledClassifier({classes}PreTrainedModel):
    config_class = MeanPooledConfig

    def __init__(self, config):
        super().__init__(config)
        self.{encoder} = {classes}Model(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        hidden = self.{encoder}(input_ids, attention_mask=attention_mask).last_hidden_state
        mask = (input_ids == input_ids if attention_mask is None else attention_mask).unsqueeze(-1).to(hidden.dtype)
        logits = self.classifier(self.dropout((hidden * mask).sum(1) / mask.sum(1)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
'''
AUTO_MAP = {"AutoConfig": "modeling_minixl.MeanPooledConfig",
            "AutoModelForSequenceClassification": "modeling_minixl.MeanPooledClassifier"}


def config_json(model_type: str) -> dict[str, Any]:
    """Return the entries of config.json for an encoder of this type."""
    return {"architectures": ["MeanPooledClassifier"], "model_type": MEAN_POOLED + model_type, "auto_map": AUTO_MAP}


def modeling_file(model_type: str, classes: str) -> str:
    """Return the text of modeling_minixl.py.  classes: what the names of the encoder's classes begin with."""
    return MODELING.format(classes=classes, model_type=MEAN_POOLED + model_type,
                           encoder="roberta" if model_type == "xlm-roberta" else "bert")
