"""Prediction on a GPU: what is decoded there, and what is fetched."""
import numpy as np
import pytest

from minixl import prediction
from minixl.backend import to_numpy
from minixl.ops.viterbi import viterbi
from minixl.prediction import Predictor
from tests.test_prediction import predictor, word_level

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("task", ["ner", "pos"])
def test_only_tags_and_confidences_leave_the_gpu(tmp_path, monkeypatch, cuda, task):
    """Of a CRF that finds entities, and of a tagger of plain tags."""
    ours = word_level(tmp_path) if task == "ner" else predictor(tmp_path, "token", task)
    words = ["anna ben paris".split(), [], "paris never 😀 .".split()]
    expected, there = ours.tag(words), Predictor.load(tmp_path / "model", device="cuda")
    fetched, decoded = [], []
    monkeypatch.setattr(prediction, "to_numpy", lambda array: fetched.append(array.shape) or to_numpy(array))
    monkeypatch.setattr(prediction, "viterbi", lambda scores, starts, **chain: (
        decoded.append((type(scores), len(scores), type(starts))) or viterbi(scores, starts, **chain)))
    found = there.tag(words)
    assert fetched == [(7,), (7,), (sum(len(answer.entities) for answer in expected),)]
    assert decoded == [(cuda.ndarray, 7, np.ndarray)]
    for answer, other in zip(found, expected, strict=True):
        assert answer.tags == other.tags and [span[:3] for span in answer.entities] == [span[:3] for span in other.entities]
        np.testing.assert_allclose(answer.confidences, other.confidences, rtol=1e-4)
        np.testing.assert_allclose([span[3] for span in answer.entities], [span[3] for span in other.entities], rtol=1e-4)
