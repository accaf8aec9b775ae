"""viterbi_kbest against the first k of all paths."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops.viterbi import viterbi
from minixl.ops.viterbi_kbest import viterbi_kbest
from tests.ops.chain_brute_force import LENGTHS, all_paths, options, path_score, random_chain, random_legal


def assert_k_best_paths(decode, chain, k, legal=None, xp=np):
    """The first k of all paths, best first; -1 and minus infinity where there are fewer."""
    moved = {name: None if value is None else xp.asarray(value) for name, value in options(chain).items()}
    tags, scores = map(to_numpy, decode(xp.asarray(chain.scores), chain.starts, k, legal=legal, **moved))
    assert tags.shape == (k, chain.starts[-1]) and scores.shape == (k, len(chain.starts) - 1)
    for b in range(len(chain.starts) - 1):
        expected = [(score, path) for score, path in all_paths(chain, b, legal)[:k] if score > -np.inf]
        found = tags[:, chain.starts[b]:chain.starts[b + 1]]
        for rank, (score, path) in enumerate(expected):
            assert tuple(found[rank]) == path
            np.testing.assert_allclose(scores[rank, b], score, rtol=1e-12, atol=1e-12)
        assert (found[len(expected):] == -1).all() and np.isneginf(scores[len(expected):, b]).all()


@pytest.mark.parametrize("k", [1, 2, 7, 40])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_equals_the_first_of_all_paths(xp, rng, lengths, k):
    assert_k_best_paths(viterbi_kbest, random_chain(rng, lengths), k, xp=xp)
    assert_k_best_paths(viterbi_kbest, random_chain(rng, lengths, 1, boundaries=False), k, xp=xp)


def test_illegal_moves_are_never_taken(xp, rng):
    for _ in range(5):
        assert_k_best_paths(viterbi_kbest, random_chain(rng, tags=4), 9, random_legal(rng, 4), xp)


def test_first_path_is_viterbi_and_no_path_comes_twice_even_with_ties(rng):
    for _ in range(10):
        chain = random_chain(rng, tags=3)
        chain = chain._replace(**{name: np.round(value) for name, value in chain._asdict().items() if name != "starts"})
        tags, scores = viterbi_kbest(chain.scores, chain.starts, 6, **options(chain))
        np.testing.assert_array_equal(tags[0], viterbi(chain.scores, chain.starts, **options(chain))[0])
        for b in range(len(chain.starts) - 1):
            rows = slice(chain.starts[b], chain.starts[b + 1])
            paths = [tuple(path) for path, score in zip(tags[:, rows].tolist(), scores[:, b]) if score > -np.inf]
            assert len(set(paths)) == len(paths)
            assert scores[:len(paths), b].tolist() == [path_score(chain.scores[rows], path, *chain[2:])
                                                       for path in paths]


def test_k_must_be_positive(rng):
    chain = random_chain(rng)
    with pytest.raises(ValueError, match="k: expected at least 1 path per sentence, got 0"):
        viterbi_kbest(chain.scores, chain.starts, 0)
