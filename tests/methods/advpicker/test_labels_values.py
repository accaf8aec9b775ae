"""Pseudo-tags and the figures of teachers where a plausible mistake would give others."""
import numpy as np
import pytest

from minixl.methods.advpicker.labels import Merged, Scored, agreement, merge, pseudo_tags

LABELS = ["O", "B-X", "I-X"]


def test_the_best_sequence_has_the_highest_product():
    """O O O has the highest sum, 0.95 + 0.04 against 0.05 + 0.93; B-X I-X O the highest product, 0.0465 against 0.038."""
    probabilities = np.array([[0.95, 0.05, 0.0], [0.04, 0.03, 0.93], [0.9, 0.05, 0.05]])
    both = Merged(np.tile(probabilities, (2, 1)), np.array([0, 3, 6]), np.zeros(2), np.zeros(2, int))
    assert pseudo_tags(both, LABELS, "IOB2") == [["B-X", "I-X", "O"]] * 2
    assert pseudo_tags(both, LABELS, "IOB2", constrained=False) == [["O", "I-X", "O"]] * 2


def teacher(sure):
    """One word a sentence, whose first label has this probability."""
    sure = np.array(sure)
    return Scored(np.stack([sure, 1 - sure], axis=1), np.arange(len(sure) + 1), np.zeros(len(sure)), np.zeros(len(sure)))


def test_a_teachers_confidence_is_its_mean_over_all_sentences():
    """Each is chosen once; the mean of the chosen sentences alone would be 0.9 and 0.7."""
    teachers = [teacher([0.9, 0.55]), teacher([0.6, 0.7])]
    merged = merge(teachers)
    assert merged.teacher.tolist() == [0, 1]
    assert [(row["chosen"], row["confidence"]) for row in agreement(teachers, merged)] == [
        (1, pytest.approx((0.9 + 0.55) / 2)), (1, pytest.approx((0.6 + 0.7) / 2))]
