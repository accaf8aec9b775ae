"""The order in which recurrent ops walk over packed sentences: longest sentence first, one time step after another.

Packed arrays hold the sentences one after another.  A recurrence needs all first tokens, then all second tokens, and
so on.  With the sentences sorted by length, those that have a token at step t are always the first n: step t is
one contiguous block of rows, its predecessors are the first n rows of the block before, and there is no padding to
compute.

    packed   a a a | b | c c          step order   a c b | a c | a          bounds  0 3 5 6

viterbi, crf, crf_confidence and lstm_steps use it.
"""
from types import ModuleType
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, copy_together
from minixl.packing import starts_of


class Steps(NamedTuple):
    """The step order of a packed batch.  L is the length of the longest sentence."""

    rows: Array          # (T,)    packed row of every token in step order
    bounds: list[int]    # (L+1,)  step t has the tokens bounds[t]:bounds[t+1] of the step order
    order: Array         # (R,)    numbers of the sentences with tokens, longest first, ties in packed order
    last: Array          # (R,)    step-order position of the last token of each of these sentences
    sentence: Array      # (T,)    for every token in step order: its sentence, as an index into `order`
    before: Array        # (T-R,)  for every token of the second step and later: position of the token before it


def time_steps(starts: np.ndarray, xp: ModuleType = np, *, reverse: bool = False) -> Steps:
    """starts (B+1,) of packed sentences -> their step order, with reverse=True from right to left."""
    starts = np.asarray(starts, dtype=np.int64)
    lengths = np.diff(starts)
    order = np.argsort(-lengths, kind="stable")[:np.count_nonzero(lengths)]
    ordered = lengths[order]                                                       # (R,) decreasing
    longest = int(ordered[0]) if len(ordered) else 0
    running = np.searchsorted(-ordered, -np.arange(longest), side="left")          # (L,) sentences longer than t
    bounds = starts_of(running)
    step = np.repeat(np.arange(longest), running)                                  # (T,)
    sentence = np.arange(int(bounds[-1])) - bounds[step]                           # (T,) index into order
    rows = starts[order][sentence] + step
    if reverse:
        rows = starts[order + 1][sentence] - 1 - step
    last = bounds[ordered - 1] + np.arange(len(order))
    before = np.arange(len(order), len(rows)) - running[step[len(order):] - 1]
    on_device = copy_together(xp, rows, order, last, sentence, before)
    return Steps(on_device[0], bounds.tolist(), *on_device[1:])
