"""The batches that are chosen for the benchmark."""
import numpy as np

from minixl.bench.training.work import choose_batches, padded, pieces
from minixl.data.encoding import Example


def examples_of(lengths):
    return [Example(np.zeros(n, int), np.zeros(0, int), np.zeros(0, int), i, 0) for i, n in enumerate(lengths)]


def test_grouped_batches_pad_little_and_cover_all_lengths(rng):
    examples = examples_of(rng.integers(2, 100, 1000).tolist())
    options = {"batch_size": 10, "count": 8, "seed": 3}
    random, grouped = choose_batches(examples, "random", **options), choose_batches(examples, "grouped", **options)
    for batches in (random, grouped):
        assert [len(batch) for batch in batches] == [10] * 8
        assert len({e.source for batch in batches for e in batch}) == 80
    waste = [1 - sum(map(pieces, b)) / sum(map(padded, b)) for b in (random, grouped)]
    assert waste[0] > 0.3 and waste[1] < 0.1
    means = [pieces(batch) / 10 for batch in grouped]
    assert means == sorted(means) and means[0] < 15 and means[-1] > 85
    assert abs(np.mean(means) - np.mean([len(e.input_ids) for e in examples])) < 3
    again = choose_batches(examples, "grouped", **options)
    assert [[e.source for e in batch] for batch in again] == [[e.source for e in batch] for batch in grouped]


def test_few_sentences_give_all_full_batches_once():
    batches = choose_batches(examples_of([5, 9, 3, 7, 4]), "grouped", batch_size=2, count=6, seed=0)
    assert [len(batch) for batch in batches] == [2, 2]
