"""starts_of and owner_of: where packed sentences begin, and which sentence each row belongs to."""
import numpy as np
import pytest

from minixl.packing import owner_of, starts_of


@pytest.mark.parametrize("lengths, starts, owner", [
    ([3, 1, 2], [0, 3, 4, 6], [0, 0, 0, 1, 2, 2]),
    ([0, 2, 0, 0, 1, 0], [0, 0, 2, 2, 2, 3, 3], [1, 1, 4]),
    ([], [0], []), ([0], [0, 0], [])])
def test_starts_and_owner(lengths, starts, owner):
    for argument in (lengths, iter(lengths), np.array(lengths, np.int32)):
        result = starts_of(argument)
        assert result.tolist() == starts and result.dtype == np.int64      # an index, even without sentences
    assert owner_of(result).tolist() == owner
