"""config.json -> BertConfig: accepted values, error messages; shapes against transformers."""
import pytest
from transformers import BertConfig as TheirConfig
from transformers import BertModel, XLMRobertaConfig, XLMRobertaModel

from minixl.errors import UserError
from minixl.models.bert_config import BertConfig, encoder_axes, encoder_shapes

SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, "vocab_size": 23}

REFUSED = {
    "missing": ({"hidden_size": None}, "hidden_size is missing; expected a whole number"),
    "text": ({"hidden_size": "12"}, "hidden_size: expected a whole number, found '12'"),
    "boolean": ({"num_hidden_layers": True}, "num_hidden_layers: expected a whole number, found True"),
    "fraction": ({"vocab_size": 2.5}, "vocab_size: expected a whole number, found 2.5"),
    "rate": ({"hidden_dropout_prob": "0.1"}, "hidden_dropout_prob: expected a number, found '0.1'"),
    "rate range": ({"hidden_dropout_prob": 1}, "hidden_dropout_prob: expected 0 <= p < 1, found 1"),
    "eps": ({"layer_norm_eps": 0}, "layer_norm_eps: expected more than 0, found 0"),
    "zero": ({"num_hidden_layers": 0}, "num_hidden_layers: expected at least 1, found 0"),
    "heads": ({"num_attention_heads": 5}, "hidden_size 12 is not divisible by num_attention_heads 5"),
    "pad": ({"pad_token_id": 23}, "pad_token_id: expected 0 to 22 (vocab_size - 1), found 23"),
    "act": ({"hidden_act": "relu"}, "hidden_act: expected 'gelu', found 'relu'"),
    "relative": ({"position_embedding_type": "relative_key"}, "position_embedding_type: expected 'absolute'"),
    "positions": ({"model_type": "xlm-roberta", "max_position_embeddings": 2},
                  "max_position_embeddings: expected more than 2 (pad_token_id + 1, the first position of an XLM-R), found 2"),
    **{name: ({"model_type": name}, f"model_type: expected 'bert' or 'xlm-roberta', found '{name}'; use a multilingual BERT or")
       for name in ("roberta", "camembert", "xlm-roberta-xl", "distilbert", "deberta-v2", "gpt2")},
    "decoder": ({"is_decoder": True}, "is_decoder: expected false (an encoder), found True"),
}


@pytest.mark.parametrize("change, text", REFUSED.values(), ids=REFUSED)
def test_refused(change, text):
    with pytest.raises(UserError) as error:
        BertConfig.from_json(SIZES | change, "some/config.json")
    assert str(error.value).startswith("some/config.json: ") and text in str(error.value), error.value
    assert "\n" not in str(error.value)


def test_defaults_are_those_of_transformers():
    ours, theirs = BertConfig.from_json(SIZES), TheirConfig(**SIZES)
    for name in ours.__dataclass_fields__:
        if name not in ("raw", "position_embedding_type"):             # transformers 5 has absolute positions only
            assert getattr(ours, name) == getattr(theirs, name), name


def test_xlm_r():
    """512 pieces of 514 positions; the defaults of transformers."""
    sizes = SIZES | {"max_position_embeddings": 514, "type_vocab_size": 1}
    ours, theirs = BertConfig.from_json(sizes | {"model_type": "xlm-roberta"}), XLMRobertaConfig(**sizes)
    assert (ours.first_position, ours.max_pieces) == (2, 512)
    assert (ours.pad_token_id, ours.layer_norm_eps) == (theirs.pad_token_id, theirs.layer_norm_eps)
    assert encoder_shapes(ours) == {f"bert.{name}": tuple(value.shape)
                                    for name, value in XLMRobertaModel(theirs).named_parameters()}
    assert (BertConfig.from_json(SIZES).first_position, BertConfig.from_json(SIZES).max_pieces) == (0, 512)


def test_raw_is_complete():
    raw = SIZES | {"model_type": "bert", "something_of_mine": [1, 2], "layer_norm_eps": 1e-6}
    config = BertConfig.from_json(raw)
    assert config.raw == raw and config.layer_norm_eps == 1e-6


@pytest.mark.parametrize("pooler", [True, False])
def test_shapes_are_those_of_transformers(pooler):
    theirs = BertModel(TheirConfig(**SIZES), add_pooling_layer=pooler)
    expected = {f"bert.{name}": tuple(value.shape) for name, value in theirs.named_parameters()}
    assert encoder_shapes(BertConfig.from_json(SIZES), pooler) == expected
    assert list(encoder_shapes(BertConfig.from_json(SIZES), pooler)) == list(expected)      # the order of the forward pass


def test_axes_name_keys_of_the_configuration():
    axes = encoder_axes(BertConfig.from_json(SIZES))
    assert axes["bert.encoder.layer.1.output.dense.weight"] == ("hidden_size", "intermediate_size")
    assert axes["bert.encoder.layer.1.intermediate.dense.bias"] == ("intermediate_size",)
