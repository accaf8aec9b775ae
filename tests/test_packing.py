"""starts_of, owner_of and sums_by_sentence: where packed sentences begin, whose rows are whose, and their sums."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.packing import owner_of, starts_of, sums_by_sentence


@pytest.mark.parametrize("lengths, starts, owner", [
    ([3, 1, 2], [0, 3, 4, 6], [0, 0, 0, 1, 2, 2]),
    ([0, 2, 0, 0, 1, 0], [0, 0, 2, 2, 2, 3, 3], [1, 1, 4]),
    ([], [0], []), ([0], [0, 0], [])])
def test_starts_and_owner(lengths, starts, owner):
    for argument in (lengths, iter(lengths), np.array(lengths, np.int32)):
        result = starts_of(argument)
        assert result.tolist() == starts and result.dtype == np.int64      # an index, even without sentences
    assert owner_of(result).tolist() == owner


@pytest.mark.parametrize("lengths", [[3, 1, 2], [0, 2, 0, 0, 1, 0], [0], [], [700, 1, 333]], ids=str)
@pytest.mark.parametrize("width", [(), (5,)])
def test_sums_by_sentence(xp, rng, lengths, width):
    starts, values = starts_of(lengths), rng.normal(size=(sum(lengths), *width))
    sums = sums_by_sentence(xp.asarray(values), starts, xp)
    expected = np.array([values[a:b].sum(axis=0) for a, b in zip(starts, starts[1:])]).reshape(len(lengths), *width)
    np.testing.assert_allclose(to_numpy(sums), expected, rtol=1e-12, atol=1e-12)
    assert sums.dtype == values.dtype


def test_infinity_stays_in_its_sentence(xp):
    values = xp.asarray(np.array([1.0, -np.inf, 2.0, 3.0]))
    assert to_numpy(sums_by_sentence(values, starts_of([2, 2]), xp)).tolist() == [-np.inf, 5.0]


def test_sums_have_the_same_bits_twice(xp, rng):
    starts, values = starts_of([500, 300, 900]), xp.asarray(rng.normal(size=(1700, 64)).astype(np.float32))
    first = to_numpy(sums_by_sentence(values, starts, xp))
    assert all(np.array_equal(first, to_numpy(sums_by_sentence(values, starts, xp))) for _ in range(5))
