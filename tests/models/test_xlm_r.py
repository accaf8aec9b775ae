"""XLM-R against transformers, tiny, in float64: hidden states, loss, every gradient; folders of every class are read alike."""
import json

import numpy as np
import pytest
import torch

from minixl.errors import UserError
from minixl.models.transformer import Transformer
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer
from tests.models.hugging_face import LABELS, assert_gradients, make_batch, padded, tiny_pair, unpadded
from tests.models.test_bert import hidden_states
from tests.models.test_transformer import loss_and_gradients
from tests.ops.checks import assert_close
from tests.tiny import write_xlm_r

PAD = 1


def pair_and_batch(rng, pooling):
    """Both models, and a batch without <pad>, which transformers leaves out when it counts positions."""
    theirs, ours = tiny_pair(pooling, model_type="xlm-roberta")
    batch = make_batch(rng, documents=pooling == "cls", lengths=(5, 1, 9, 15, 2, 12, 1, 5))
    return theirs, ours, batch._replace(input_ids=np.where(batch.input_ids == PAD, 2, batch.input_ids))


def test_hidden_states_layer_by_layer(rng):
    theirs, ours, batch = pair_and_batch(rng, "token")
    inputs = padded(batch, PAD)
    expected = theirs.roberta(inputs["input_ids"], inputs["attention_mask"], output_hidden_states=True).hidden_states
    for number, (state, reference) in enumerate(zip(hidden_states(ours.bert, batch), expected, strict=True)):
        assert_close(state, unpadded(reference, batch), 1e-9, f"after {number} layers")


@pytest.mark.parametrize("pooling", ["token", "cls"])
def test_loss_and_every_gradient(rng, pooling):
    theirs, ours, batch = pair_and_batch(rng, pooling)
    outputs = theirs(**padded(batch, PAD))
    outputs.loss.backward()
    assert loss_and_gradients(ours, batch) == pytest.approx(outputs.loss.item(), rel=1e-9)
    assert_gradients(ours, theirs, 1e-9)


@pytest.mark.parametrize("architecture", ["XLMRobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaForTokenClassification",
                                          "XLMRobertaForSequenceClassification"])
def test_the_encoder_of_every_class(rng, tmp_path, architecture):
    """The same hidden states, whatever prefix the class gives the encoder's parameters."""
    import transformers
    folder = write_xlm_r(tmp_path, architecture=architecture)
    config = read_config(folder)
    ours = Transformer(config, LABELS, "token")
    load_parameters(folder, {name: ours.store[name].value for name in ours.encoder_names()})
    theirs = transformers.XLMRobertaModel.from_pretrained(folder, attn_implementation="eager").eval()
    ids = np.arange(2, 40)[:config.max_pieces]
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).last_hidden_state[0].numpy()
    found, _ = ours.bert.forward(ids, np.arange(len(ids)), np.array([0, len(ids)]), keep=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_special_ids_come_from_the_tokenizer(tmp_path):
    tokenizer = Tokenizer(write_xlm_r(tmp_path))
    assert (tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.unk_id) == (0, 2, 1, 3)


@pytest.mark.parametrize("change", [{"model_type": "bert"}, {"model_type": None}], ids=str)
def test_a_config_of_a_bert_beside_weights_of_an_xlm_r(tmp_path, change):
    """It would count positions from 0."""
    folder = write_xlm_r(tmp_path, architecture="XLMRobertaForMaskedLM")
    raw = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))
    model = Transformer(read_config(folder), LABELS, "token")
    with pytest.raises(UserError, match="config.json: model_type: expected 'xlm-roberta', since the weights have roberta.emb"):
        load_parameters(folder, {p.name: p.value for p in model.store}, optional=model.head_names())
