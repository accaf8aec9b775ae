"""Prediction with scores on a GPU, played by a subclass of NumPy's arrays: what is decoded there, and what is fetched."""
import numpy as np
import pytest

from minixl import prediction
from minixl.ops.viterbi import viterbi
from minixl.prediction import predict_labels
from tests.test_prediction import TEXTS, model, predictor, sentences, word_level


class OnDevice(np.ndarray):
    """Stands for an array on a GPU: results computed from it are on the GPU, too, until to_numpy fetches them."""

    __array_priority__ = 1         # concatenated with other arrays, the type stays


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """as_on_a_gpu(model): its scores are on the GPU.  Returns the shapes of fetched arrays and the scores passed to Viterbi."""
    fetched, decoded = [], []

    def to_numpy(array):
        fetched.append(array.shape)
        assert isinstance(array, OnDevice)
        return array.view(np.ndarray)

    def search(scores, starts, **chain):
        decoded.append(scores)
        assert isinstance(starts, np.ndarray) and not isinstance(starts, OnDevice)
        return [array.view(OnDevice) for array in viterbi(scores, starts, **chain)]

    def begin(model):
        real = model.scores
        monkeypatch.setattr(model, "scores", lambda batch: real(batch).view(OnDevice))
        monkeypatch.setattr(prediction, "to_numpy", to_numpy)
        monkeypatch.setattr(prediction, "viterbi", search)
        return fetched, decoded
    return begin


def test_scores_stay_on_the_gpu_until_they_are_decoded(as_on_a_gpu):
    """Only the class numbers of all words are fetched."""
    made, encoded = model("token"), sentences()
    expected, words = predict_labels(made, encoded, "IOB2"), sum(len(text.split()) for text in TEXTS)
    fetched, decoded = as_on_a_gpu(made)
    assert predict_labels(made, encoded, "IOB2") == expected
    assert fetched == [(words,)]
    assert [(type(scores), scores.shape) for scores in decoded] == [(OnDevice, (words, 5))]


@pytest.mark.parametrize("task", ["ner", "pos"])
def test_only_tags_and_confidences_leave_the_gpu(tmp_path, monkeypatch, as_on_a_gpu, task):
    """Of a CRF that finds entities, and of a tagger of plain tags."""
    ours = word_level(tmp_path) if task == "ner" else predictor(tmp_path, "token", task)
    words = ["anna ben paris".split(), [], "paris never 😀 .".split()]
    expected = ours.tag(words)
    for name in ("confidences", "span_confidences"):
        real = getattr(ours.model, name)
        monkeypatch.setattr(ours.model, name, lambda *args, real=real, **options: real(*args, **options).view(OnDevice))
    fetched, decoded = as_on_a_gpu(ours.model)
    found = ours.tag(words)
    assert fetched == [(7,), (7,), (sum(len(answer.entities) for answer in expected),)]
    assert [(type(scores), len(scores)) for scores in decoded] == [(OnDevice, 7)]
    for answer, other in zip(found, expected, strict=True):
        assert answer.tags == other.tags and answer.entities == other.entities
        np.testing.assert_array_equal(answer.confidences, other.confidences)
