"""Launches kernels/viterbi.cu.  Same contract as minixl.ops.viterbi; above MOST_TAGS the readable op takes its place."""
import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import blocks, check, float32_only, size
from minixl.ops import viterbi as op

MOST_TAGS = 64        # a thread a tag in two warps, and the transitions fit shared memory everywhere


@float32_only(op.viterbi)
def viterbi(scores: Array, starts: np.ndarray, *, transitions: Array | None = None, start: Array | None = None,
            end: Array | None = None, legal: op.LegalMoves | None = None, version: int = 2) -> tuple[Array, Array]:
    """scores (T, K), starts (B+1,) on the CPU -> tags (T,) int64 and the score (B,) of each best path."""
    xp = array_module(scores, transitions, start, end)
    tokens, tags_of_set = check_scores(scores, starts, legal)
    if tags_of_set > MOST_TAGS:
        return kernels.readable(op.viterbi)(scores, starts, transitions=transitions, start=start, end=end,
                                            legal=legal)
    chain = [xp.ascontiguousarray(part) for part in op.chain_scores(scores, transitions, start, end, legal)]
    for name, part, ndim in zip(("transitions", "start", "end"), chain, (2, 1, 1), strict=True):
        check(name, part, (tags_of_set,) * ndim)
    tags = kernels.empty(scores, (tokens,), np.int64)
    path_scores = kernels.empty(scores, (len(starts) - 1,))
    best = kernels.empty(scores, scores.shape)
    if len(starts) > 1:
        sentences = size("B", len(starts) - 1)
        threads = 32 * blocks(tags_of_set, 32)
        grid, block = ((int(sentences),), (threads,)) if version == 2 else ((blocks(int(sentences), 32),), (32,))
        shared = 4 * tags_of_set * (tags_of_set + 2) if version == 2 else 0
        kernels.load("viterbi.cu", f"viterbi_v{version}")(
            grid, block, (scores, *chain, xp.asarray(starts, np.int64), tags, path_scores, best, sentences,
                          size("K", tags_of_set)), shared_mem=shared)
    return tags, path_scores


def check_scores(scores: Array, starts: np.ndarray, legal: op.LegalMoves | None) -> tuple[int, int]:
    """T and K.  ValueError unless the scores are (T, K), the starts rise from 0 to T and the masks are bool."""
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"scores: expected shape (T, K) with K at least 1, got {scores.shape}")
    check("scores", scores, scores.shape)
    starts = np.asarray(starts)
    if starts.ndim != 1 or not len(starts) or starts[0] or starts[-1] != len(scores) or (np.diff(starts) < 0).any():
        raise ValueError(f"starts: expected (B+1,) numbers that rise from 0 to T = {len(scores)}, got {starts}")
    for name in ("start", "transitions", "end") if legal is not None else ():
        if getattr(legal, name).dtype != np.bool_:
            raise ValueError(f"legal.{name}: expected bool, got {getattr(legal, name).dtype}")
    return scores.shape
