"""Enumerate every tag sequence of every sentence: the independent reference for the tests of CRF and Viterbi."""
from itertools import product
from typing import NamedTuple

import numpy as np


class Chain(NamedTuple):
    """A random linear chain over packed sentences."""

    scores: np.ndarray               # (T, K)
    starts: np.ndarray               # (B+1,)
    transitions: np.ndarray | None   # (K, K) [from, to]
    start: np.ndarray | None         # (K,)
    end: np.ndarray | None           # (K,)


class Allowed(NamedTuple):
    start: np.ndarray                # (K,) bool
    transitions: np.ndarray          # (K, K) bool
    end: np.ndarray                  # (K,) bool


LENGTHS = {"mixed": (3, 1, 5, 0, 2, 5), "one": (1,), "ones": (1, 1, 1), "rising": (1, 2, 3, 4), "empty batch": (),
           "only empty": (0, 0)}


def random_chain(rng, lengths=LENGTHS["mixed"], tags=3, boundaries=True, scale=1.0, dtype=np.float64):
    """Scores of size `scale` for sentences of these lengths, with boundaries=False without start and end."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    draw = lambda *shape: (scale * rng.normal(size=shape)).astype(dtype)
    return Chain(draw(starts[-1], tags), starts, draw(tags, tags),
                 draw(tags) if boundaries else None, draw(tags) if boundaries else None)


def random_legal(rng, tags):
    """Random rules that allow at least one path of every length: the last tag may begin, repeat and end."""
    legal = Allowed(rng.random(tags) < 0.6, rng.random((tags, tags)) < 0.6, rng.random(tags) < 0.6)
    legal.start[-1] = legal.transitions[-1, -1] = legal.end[-1] = True
    return legal


def path_score(scores, path, transitions=None, start=None, end=None, legal=None):
    """The score of one path of one sentence, scores (n, K), summed term by term."""
    total = 0.0
    if not path:
        return total
    for t, tag in enumerate(path):
        total += float(scores[t, tag])
        if t and transitions is not None:
            total += float(transitions[path[t - 1], tag])
        if t and legal is not None and not legal.transitions[path[t - 1], tag]:
            total = -np.inf
    total += 0.0 if start is None else float(start[path[0]])
    total += 0.0 if end is None else float(end[path[-1]])
    if legal is not None and not (legal.start[path[0]] and legal.end[path[-1]]):
        total = -np.inf
    return total


def all_paths(chain, sentence, legal=None):
    """[(score, path)] of every path of one sentence, best first, ties in the order of viterbi's rule."""
    scores = chain.scores[chain.starts[sentence]:chain.starts[sentence + 1]]
    paths = product(range(chain.scores.shape[1]), repeat=len(scores))
    scored = [(path_score(scores, path, *chain[2:], legal), path) for path in paths]
    return sorted(scored, key=lambda item: (-item[0], item[1][::-1]))


def options(chain):
    """The keyword arguments of viterbi."""
    return {"transitions": chain.transitions, "start": chain.start, "end": chain.end}
