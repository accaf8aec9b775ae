"""Numbers of parameters: Table 4 of Bari et al. 2020 to the unit, five languages, four models.

The numbers of TABLE_4 are the paper's.  Word vectors are not counted: they are given and stay as they are.  What the
paper leaves open is the number of characters of each language, one number for up to three models, and which of the
first three models is the base of the fourth: the best one in the table, for German and Arabic one without characters.
"""
from dataclasses import replace
from math import prod

import numpy as np
import pytest

from minixl.data.lexicon import Lexicon
from minixl.errors import UserError
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import CHAR_TABLE, WORD_TABLE, BilstmCrfConfig, augmented_shapes, tagger_shapes

TABLE_4 = {            # no char LSTM, Cross-Word, Cross-Shared, Cross-Augmented
    "es": (342906, 395581, 210081, 661281),
    "nl": (342906, 395881, 210381, 661581),
    "de": (342906, 395756, 182506, 636356),
    "ar": (341890, 396215, 181490, 797215),
    "fi": (342906, 395356, 209856, 661056),
}
CHARACTERS = {"es": 99, "nl": 111, "de": 106, "fi": 90, "ar": 165}
TAGS = {"ar": 9}                                                   # IOB2; the others 17: IOBES, four types
BASE = {"es": 2, "nl": 2, "de": 2, "ar": 0, "fi": 2}               # the model that Cross-Augmented extends


def configurations(language):
    """The three taggers of a language."""
    full = BilstmCrfConfig(vocabulary_size=50, alphabet_size=CHARACTERS[language], word_size=300, train_words=False)
    shared = replace(full, tied=True, chars=language not in ("de", "ar"))
    return replace(full, chars=False), full, shared


def count(shapes):
    return sum(prod(shape) for name, shape in shapes.items() if name != WORD_TABLE)


@pytest.mark.parametrize("language", TABLE_4)
def test_table_4(language):
    taggers, tags = configurations(language), TAGS.get(language, 17)
    counted = [count(tagger_shapes(config, tags)) for config in taggers]
    counted.append(count(augmented_shapes(taggers[BASE[language]], tags)))
    assert tuple(counted) == TABLE_4[language]


@pytest.mark.parametrize("variant", range(3))
def test_the_model_trains_as_many(variant):
    config = configurations("es")[variant]
    lexicon = Lexicon([f"w{i}" for i in range(49)], [chr(97 + i) for i in range(98)])
    model = BilstmCrf(config, [f"tag{i}" for i in range(17)], lexicon)
    assert model.store.count(trainable=True) == TABLE_4["es"][variant]
    assert model.store.count(trainable=False) == 50 * 300


def test_the_second_encoder_has_directions_of_its_own():
    """An untied source with a tied target encoder, the other reading of the paper, misses the German number."""
    without, full, shared = configurations("de")
    encoder = {name: shape for name, shape in tagger_shapes(replace(full, tied=True), 17).items()
               if "_lstm." in name or name == CHAR_TABLE}
    assert count(tagger_shapes(without, 17)) + count(encoder) + (400 * 200 + 200) == 611256 != TABLE_4["de"][3]
    shapes = augmented_shapes(shared, 17)
    assert shapes["target_char_lstm.weight_hh_l0_reverse"] == (100, 25) and "char_lstm.weight_hh_l0" not in shapes
    assert shapes["target_word_lstm.weight_ih_l0_reverse"] == (400, 350) and shapes["word_lstm.weight_ih_l0"] == (400, 300)
    assert "word_lstm.weight_ih_l0_reverse" not in shapes and shapes["target_dense.weight"] == (200, 400)


REFUSED = {
    "missing": ({"vocabulary_size": None}, "vocabulary_size is missing; expected a whole number"),
    "text": ({"alphabet_size": "5"}, "alphabet_size: expected a whole number, found '5'"),
    "boolean": ({"word_hidden": True}, "word_hidden: expected a whole number, found True"),
    "number": ({"tied": 1}, "tied: expected true or false, found 1"),
    "zero": ({"word_hidden": 0}, "word_hidden: expected at least 1, found 0"),
    "less than none": ({"dense_size": -1}, "dense_size: expected at least 0, found -1"),
    "rate": ({"dropout": 1}, "dropout: expected 0 <= p < 1, found 1"),
    "rate text": ({"word_unknown": "half"}, "word_unknown: expected a number, found 'half'"),
    "type": ({"model_type": "bert"}, "model_type: expected 'bilstm-crf', found 'bert'"),
}


@pytest.mark.parametrize("change, text", REFUSED.values(), ids=REFUSED)
def test_refused(change, text):
    with pytest.raises(UserError) as error:
        BilstmCrfConfig.from_json({"vocabulary_size": 3, "alphabet_size": 4} | change, "some/config.json")
    assert str(error.value) == f"some/config.json: {text}"


def test_round_trip():
    config = BilstmCrfConfig(3, 4, word_size=5, tied=True, start_end=True, dropout=0.25, train_words=False)
    assert BilstmCrfConfig.from_json(config.to_json() | {"id2label": {"0": "O"}}) == config


def test_a_lexicon_of_another_size_is_refused():
    with pytest.raises(UserError, match="vocabulary_size: expected 3, as in lexicon.json, found 4"):
        BilstmCrf(BilstmCrfConfig(4, 2), ["O"], Lexicon(["a", "b"], "c"))


def test_initial_values(rng):
    """Bounds as documented, gates apart; the forget gate's bias is one, every other vector zero; vectors are kept."""
    config = BilstmCrfConfig(41, 11, word_size=12, char_size=6, char_hidden=5, word_hidden=7, dense_size=8, start_end=True,
                             two_biases=True, train_words=False)
    model = BilstmCrf(config, ["O", "B-X", "I-X"], Lexicon([f"w{i}" for i in range(40)], "abcdefghij"), dtype=np.float64)
    vectors = rng.normal(size=(40, 12))
    model.set_word_vectors(vectors)
    model.initialise(rng)
    value = {parameter.name: parameter.value for parameter in model.store}
    np.testing.assert_array_equal(value[WORD_TABLE][1:], vectors)
    np.testing.assert_allclose(value[WORD_TABLE][0], vectors.mean(axis=0), rtol=1e-12)
    for name, bound in (("char_embeddings.weight", 3 / 6), ("word_lstm.weight_ih_l0", 6 / (7 + 22)),
                        ("char_lstm.weight_hh_l0_reverse", 6 / 10), ("dense.weight", 6 / 22), ("crf.transitions", 1)):
        largest = np.abs(value[name]).max()
        assert 0.8 * bound ** 0.5 < largest <= bound ** 0.5 or name == "crf.transitions" and largest <= 1, name
    for name, array in value.items():
        if array.ndim == 1:
            forget = np.arange(len(array)) // (len(array) // 4) == 1 if ".bias_ih_l0" in name else np.zeros(len(array))
            np.testing.assert_array_equal(array, forget, err_msg=name)
    with pytest.raises(ValueError, match=r"vectors: expected shape \(40, 12\)"):
        model.set_word_vectors(vectors[:, :5])
