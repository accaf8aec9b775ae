"""Scores of translations on planted spaces, against loops; mean-pooled vectors against each text alone."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.data.encoding import encode_documents
from minixl.data.examples import Document
from minixl.evaluation.translations import (derangement, encode_texts, load_encoder, precision_at_1, sentence_vectors,
                                            translation_scores)
from minixl.models.bert import Bert
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from tests.data.piece_tokenizer import LetterTokenizer
from tests.tiny import write_encoder

SIZES = {"vocab_size": 200, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20,
         "max_position_embeddings": 40}
TEXTS = ["ab cd", "x", "abcd efgh ijkl mn op qrst uvw xyz abc", "y z", "ab cd"]


def model(pooling="mean", xp=np):
    made, rng = Transformer(BertConfig.from_json(SIZES), ["a", "b"], pooling, xp=xp), np.random.default_rng(2)
    for parameter in made.store:
        parameter.value[...] = xp.asarray(0.4 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name))
    return made


def encoded(texts=TEXTS, max_length=20):
    return encode_documents([Document(text, None, i + 1) for i, text in enumerate(texts)], LetterTokenizer(), None,
                            max_length=max_length)


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_the_scores_equal_those_of_plain_loops(rng):
    source = rng.normal(size=(41, 5))
    target = source + rng.normal(size=(41, 5))                         # near enough for some, too far for others
    found = translation_scores(source, target, 7)
    cosines = [[cosine(a, b) for b in target] for a in source]
    other = derangement(41, np.random.default_rng(7))
    assert found.pairs == 41
    assert found.translations == pytest.approx(np.median([cosines[i][i] for i in range(41)]), rel=1e-12)
    assert found.random == pytest.approx(np.median([cosines[i][other[i]] for i in range(41)]), rel=1e-12)
    forward = np.mean([max(range(41), key=lambda j: cosines[i][j]) == i for i in range(41)])
    backward = np.mean([max(range(41), key=lambda i: cosines[i][j]) == j for j in range(41)])
    assert 0.1 < forward < 0.9 and forward != backward                 # the two directions are told apart
    assert (found.precision_forward, found.precision_backward) == pytest.approx((forward, backward), rel=1e-12)


def test_planted_translations(rng):
    source = rng.normal(size=(500, 64))
    found = translation_scores(source, source + 0.3 * rng.normal(size=source.shape), 0)
    assert found.translations == pytest.approx(1 / np.sqrt(1.09), abs=0.01) and abs(found.random) < 0.03
    assert found.precision_forward == found.precision_backward == 1


def test_a_constant_offset_makes_everything_alike_but_not_retrieval(rng):
    source, offset = rng.normal(size=(300, 32)), 20 * rng.normal(size=32)
    found = translation_scores(source + offset, source + offset + 0.2 * rng.normal(size=source.shape), 0)
    assert found.translations > 0.99 and found.random > 0.99          # which alone would look good
    assert found.precision_forward > 0.9
    collapsed = translation_scores(source + offset, rng.normal(size=source.shape) + offset, 0)
    assert collapsed.translations == pytest.approx(collapsed.random, abs=2e-3)
    assert collapsed.precision_forward < 0.05 and collapsed.precision_backward < 0.05


def test_identical_and_unrelated_spaces(rng):
    source = rng.normal(size=(3, 1100, 8)).astype(np.float32)          # more rows than are computed at a time
    same = translation_scores(source[0], 5 * source[0], 1)                 # lengths do not matter
    assert same.translations == pytest.approx(1, abs=1e-6) and same.precision_forward == same.precision_backward == 1
    assert translation_scores(source[1], source[2], 1).precision_forward < 0.01


def test_ties_count_what_chance_would_score(rng):
    assert translation_scores(np.ones((50, 4)), 2 * np.ones((50, 4)), 0).precision_forward == pytest.approx(1 / 50)
    vectors = np.eye(4)
    assert precision_at_1(vectors, vectors[[0, 0, 2, 3]]) == pytest.approx((0.5 + 0.25 + 1 + 1) / 4)
    noisy = np.repeat(rng.normal(size=(5, 6)), 2, axis=0) * (1 + 1e-8 * rng.normal(size=(10, 6)))
    assert precision_at_1(noisy, noisy) == pytest.approx(0.5, abs=0.02)           # twins, apart from rounding
    zero = translation_scores(np.zeros((2, 3)), np.ones((2, 3)), 0)             # a zero vector is near nothing, and is no nan
    assert zero.translations == 0 and zero.precision_forward == 0.5


@pytest.mark.parametrize("count", [2, 3, 10, 501])
def test_derangement(count):
    for seed in range(20):
        other = derangement(count, np.random.default_rng(seed))
        assert sorted(other) == list(range(count)) and (other != np.arange(count)).all()
    again = derangement(count, np.random.default_rng(19))
    np.testing.assert_array_equal(other, again)
    assert count < 4 or (derangement(count, np.random.default_rng(1)) != again).any()


@pytest.mark.parametrize(("source", "target"), [((3, 4), (4, 4)), ((3, 4), (3, 5)), ((1, 4), (1, 4)), ((0, 4), (0, 4))])
def test_translation_scores_refuse(source, target):
    with pytest.raises(ValueError, match=r"translation_scores: expected two arrays of one shape with at least 2 rows, got \("):
        translation_scores(np.ones(source), np.ones(target), 0)


@pytest.mark.parametrize("tokens", [1, 30, 1000])
def test_vectors_are_means_over_all_pieces_of_all_windows(xp, tokens):
    made, rows = model(xp=xp), encoded()
    assert len(rows.examples) > rows.sources                           # a text in windows of different lengths
    vectors = sentence_vectors(made.bert, rows, tokens=tokens)
    assert vectors.shape == (5, 16) and vectors.dtype == np.float64
    for source in range(5):
        states = []
        for example in rows.examples:
            if example.source == source:
                ids = xp.asarray(example.input_ids)
                hidden, _ = made.bert.forward(ids, xp.arange(len(ids)), np.array([0, len(ids)]), keep=False)
                states.append(to_numpy(hidden).astype(np.float64))
        np.testing.assert_allclose(vectors[source], np.concatenate(states).mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[4], rtol=1e-5, atol=1e-6)


def test_long_texts_are_read_whole():
    rows = encode_texts([Document("ab " * 60, None, 1)], LetterTokenizer(), model().bert)
    assert max(len(e.input_ids) for e in rows.examples) <= 40 and len(rows.examples) > 3          # the encoder's positions
    assert sum(len(e.input_ids) - 2 for e in rows.examples) == 120
    config = BertConfig.from_json(SIZES | {"max_position_embeddings": 512})
    rows = encode_texts([Document("ab " * 100, None, 1)], LetterTokenizer(), Transformer(config, ["a", "b"], "mean").bert)
    assert max(len(e.input_ids) for e in rows.examples) == 128


def test_weights_that_are_not_finite():
    made = model()
    made.store["bert.encoder.layer.1.output.LayerNorm.bias"].value[3] = np.nan
    with pytest.raises(FloatingPointError, match="hidden states became nan"):
        sentence_vectors(made.bert, encoded())


def test_load_encoder_is_what_transformers_loads(tmp_path):
    import torch
    import transformers
    folder = write_encoder(tmp_path / "encoder")
    bert, tokenizer = load_encoder(folder)
    assert isinstance(bert, Bert) and bert.store.names(trainable=True)
    rows = encode_texts([Document("anna visited paris .", None, 1)], tokenizer, bert)
    with torch.no_grad():
        theirs = transformers.BertModel.from_pretrained(folder)(torch.tensor(rows.examples[0].input_ids[None])).last_hidden_state
    np.testing.assert_allclose(sentence_vectors(bert, rows)[0], theirs[0].mean(dim=0).numpy(), rtol=1e-4, atol=1e-5)
