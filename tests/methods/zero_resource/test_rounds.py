"""Rounds as a function of the seed and the lengths; pseudo-labels of long sentences; correctness by length."""
from itertools import islice

import numpy as np
import pytest

from minixl.data.encoding import encode_sentences
from minixl.data.examples import Sentence
from minixl.data.lexicon import Lexicon
from minixl.methods import SCHEMA
from minixl.methods.zero_resource.labels import chosen, lengths_of, with_labels
from minixl.methods.zero_resource.record import by_length
from minixl.methods.zero_resource.rounds import batches, bounds, plan


def settings(**changes):
    return SCHEMA.settings({"train.batch_size": 4, **{f"zero_resource.{name}": value for name, value in changes.items()}})


@pytest.mark.parametrize("lengths, changes, expected", [
    (range(1, 101), {}, (6, 100)),                     # the 5th percentile is 5.95 words
    ([2] * 50 + [30], {}, (5, 30)),                    # it would be 2
    ([2, 3], {}, (3, 3)),                              # no sentence has 5 words
    (range(1, 101), {"shortest": 10, "longest": 20}, (10, 20)),
], ids=["percentile", "five words", "short sentences", "settings"])
def test_bounds(lengths, changes, expected):
    assert bounds(np.array(lengths), settings(**changes)) == expected


def test_a_round_is_one_pass_over_its_sentences():
    lengths = np.arange(1, 41)
    rounds = plan(lengths, np.where(lengths > 20, 2, 1), settings(), 5, 200)
    assert [this.number for this in rounds] == list(range(1, len(rounds) + 1)) and rounds[0].first == 0
    for this, after in zip(rounds, rounds[1:], strict=False):
        windows = this.threshold + max(0, this.threshold - 20)         # longer sentences have two windows
        assert this.steps == -(-windows // 4) and after.first == this.first + this.steps
    assert rounds[-1].first < 200 <= rounds[-1].first + rounds[-1].steps
    assert rounds == plan(lengths, np.where(lengths > 20, 2, 1), settings(), 5, 200)
    assert rounds != plan(lengths, np.where(lengths > 20, 2, 1), settings(), 6, 200)
    assert [this.first for this in plan(lengths, lengths * 0 + 1, settings(round_steps=30), 5, 100)] == [0, 30, 60, 90]


def test_thresholds_are_uniform_and_include_both_ends():
    lengths = np.arange(1, 13)
    drawn = [this.threshold for this in plan(lengths, lengths * 0 + 1, settings(shortest=3, longest=6, round_steps=1), 1, 4000)]
    counts = np.bincount(drawn, minlength=7)
    assert counts[:3].sum() == 0 and counts.sum() == 4000
    np.testing.assert_allclose(counts[3:] / 4000, 0.25, atol=0.03)


def test_batches_are_shuffled_passes():
    first = list(islice(batches(10, 4, 1, 1), 6))
    assert [len(batch) for batch in first] == [4, 4, 2, 4, 4, 2]
    for part in (first[:3], first[3:]):
        assert sorted(np.concatenate(part).tolist()) == list(range(10))
    assert not all(np.array_equal(a, b) for a, b in zip(first, islice(batches(10, 4, 1, 2), 6), strict=True))


def test_labels_reach_the_windows_of_chosen_sentences():
    """Long sentences are read in windows; every word has one label, in the order of the text."""
    text = [["w"] * 30, ["w"] * 3, ["w"] * 12, ["w"] * 20]
    encoded = encode_sentences([Sentence(tuple(words), None, i) for i, words in enumerate(text, 1)], Lexicon(["w"], "w"), None,
                               max_length=16, on_long="window", path="es.txt")
    assert lengths_of(encoded).tolist() == [30, 3, 12, 20] and len(encoded.examples) > 4
    some = chosen(encoded, np.array([1, 3]))
    assert lengths_of(some).tolist() == [3, 20] and some.sources == 2
    examples = with_labels(some, np.arange(100, 123))
    assert np.concatenate([e.labels for e in examples if e.source == 0]).tolist() == [100, 101, 102]
    assert np.concatenate([e.labels for e in examples if e.source == 1]).tolist() == list(range(103, 123))
    assert all(e.labels.dtype == np.int64 and len(e.labels) == len(e.rows) for e in examples)


def test_correctness_by_length():
    gold = [["O"] * 5, ["B-X", "O"], ["O"] * 12, ["O"] * 120]
    wrong = [["O"] * 5, ["O", "O"], ["B-X"] * 3 + ["O"] * 9, ["O"] * 60]          # of a sentence that was cut, only what was read
    rows = by_length(gold, {"model": wrong})
    assert [(row["from"], row["to"], row["sentences"], row["words"]) for row in rows] == \
        [(1, 5, 2, 7), (11, 15, 1, 12), (101, 120, 1, 120)]
    assert [row["model"] for row in rows] == [6 / 7, 9 / 12, 1.0]
    assert [row["sentences, model"] for row in rows] == [0.5, 0.0, 0.0]
