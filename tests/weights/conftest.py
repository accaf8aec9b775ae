"""Small model folders for the tests."""
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from minixl.models.bert_config import BertConfig, encoder_shapes

SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, "vocab_size": 23,
         "max_position_embeddings": 16, "type_vocab_size": 2, "pad_token_id": 0}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Sevilla", "sev", "Ma", "##drid", "##illa", "é", "e", "l",
              "##l", "a", "##a", ".", ",", "北", "京", "Zür", "##ich", "##s"]


@pytest.fixture
def config_json():
    """config.json of a tiny BERT."""
    return {"model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", **SIZES}


@pytest.fixture
def tensors(rng, config_json):
    """Canonical name -> random float32 values of that BERT, with pooler."""
    shapes = encoder_shapes(BertConfig.from_json(config_json), pooler=True)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def encoder(tmp_path, config_json, tensors):
    """A complete encoder folder."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_json))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in VOCABULARY))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
