"""The paired bootstrap: counts against seqeval, planted differences, the resamples one by one."""
import numpy as np
import pytest
from hypothesis import given, settings

from minixl.evaluation import bootstrap
from minixl.evaluation.bootstrap import interval, resampled_differences, score_of, sentence_counts
from minixl.evaluation.scores import main_figure, score
from tests.evaluation.test_scores import PAIRS


@settings(deadline=None, derandomize=True)
@given(pairs=PAIRS)
def test_f1_of_counts_is_seqevals(pairs):
    gold, predicted = ([[pair[side] for pair in sentence] for sentence in pairs] for side in (0, 1))
    assert score_of(sentence_counts("ner", gold, predicted).sum(axis=0)) == pytest.approx(score("ner", gold, predicted)["f1"])


@pytest.mark.parametrize(("task", "gold", "predicted"), [
    ("ner", [["B-PER", "O", "B-LOC"], ["B-LOC"], []], [["B-PER", "O"], ["B-PER"], []]),
    ("pos", [["A", "B", "C"], ["A"]], [["A", "C"], ["A"]]),
    ("classification", ["a", "b", "a"], ["a", "a", "a"])])
def test_scores_of_counts_are_those_of_the_table(task, gold, predicted):
    """Truncated sentences are counted as far as they were read."""
    counts = sentence_counts(task, gold, predicted)
    assert counts.shape == (len(gold), 3)
    assert score_of(counts.sum(axis=0)) == pytest.approx(score(task, gold, predicted)[main_figure(task)])


def documents(rng, accuracy, count, seeds=1):
    """Counts of a classifier that is right with this probability."""
    right = (rng.random((seeds, count)) < accuracy).astype(float)
    return np.stack([right, np.ones_like(right), np.ones_like(right)], axis=-1)


def test_a_true_difference_is_found_and_no_difference_is_not(rng):
    worse, better = documents(rng, 0.6, 1000), documents(rng, 0.75, 1000)
    low, high = interval(resampled_differences(worse, better, 0))
    assert 0 < low < 0.15 < high
    low, high = interval(resampled_differences(worse, worse[:, rng.permutation(1000)], 0))          # right as often, elsewhere
    assert low < 0 < high
    assert interval(resampled_differences(worse, worse, 0)) == (0, 0)


def test_intervals_contain_the_true_difference_as_often_as_they_say(rng):
    ends = [interval(resampled_differences(documents(rng, 0.6, 300), documents(rng, 0.7, 300), i, 200)) for i in range(200)]
    assert 0.90 < np.mean([low <= 0.1 <= high for low, high in ends]) < 0.99


def test_sentences_are_paired(rng):
    """Two systems that agree but for a few sentences: the interval is far narrower than that of unpaired ones."""
    one = documents(rng, 0.6, 500)
    other = one.copy()
    other[0, np.flatnonzero(one[0, :, 0] == 0)[:15], 0] = 1
    low, high = interval(resampled_differences(one, other, 0))
    assert 0 < low < 0.03 < high < 0.05


def test_resamples_against_a_loop(rng, monkeypatch):
    """Scores of every draw, seeds averaged; whatever is drawn at a time."""
    first, second = (rng.integers(0, 4, (seeds, 7, 3)).astype(float) for seeds in (2, 3))
    for draws in (1, 14, 10 ** 6):
        monkeypatch.setattr(bootstrap, "DRAWS", draws)
        expected, same = [], np.random.default_rng(5)
        for _ in range(6):
            drawn = same.integers(7, size=7)
            means = [np.mean([2 * c[drawn, 0].sum() / max(c[drawn, 1:].sum(), 1) for c in side]) for side in (first, second)]
            expected.append(means[1] - means[0])
        assert resampled_differences(first, second, 5, 6) == pytest.approx(expected)
