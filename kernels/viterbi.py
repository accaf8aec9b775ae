"""Launch kernels/viterbi.cu.  Same contract as minixl.ops.viterbi; more than MAX_TAGS tags use the op's formula.

NaN needs no check beforehand: the kernel propagates it to the path scores, and one pass over those (B,) numbers finds it.
"""
import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import blocks, check, check_increasing, float32_only, size
from minixl.ops import viterbi as op

MAX_TAGS = 64         # one thread per tag in two warps; the transitions fit the shared memory of any device


@float32_only(op.viterbi)
def viterbi(scores: Array, starts: np.ndarray, *, transitions: Array | None = None, start: Array | None = None,
            end: Array | None = None, legal: op.LegalMoves | None = None,
            version: int | None = None) -> tuple[Array, Array]:
    """scores (T, K), starts (B+1,) on the CPU -> tags (T,) int64 and the score (B,) of each best path.

    With an explicit version, 1 or 2, raises ValueError for more than MAX_TAGS tags.
    """
    xp = array_module(scores, transitions, start, end)
    tokens, tags_of_set = check_scores(scores, starts)
    if version not in (None, 1, 2):
        raise ValueError(f"version: expected 1 or 2, got {version}")
    if tags_of_set > MAX_TAGS and version:
        raise ValueError(f"scores: expected K of at most {MAX_TAGS} tags for viterbi_v{version}, got {tags_of_set}")
    if tags_of_set > MAX_TAGS:
        return kernels.formula(op.viterbi)(scores, starts, transitions=transitions, start=start, end=end, legal=legal)
    version = version or 2
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
    op.reject_nan(path_scores, scores=scores, transitions=chain[0], start=chain[1], end=chain[2])
    return tags, path_scores


def check_scores(scores: Array, starts: np.ndarray) -> tuple[int, int]:
    """Return T and K.  Raises ValueError unless the scores are (T, K) and the starts increase from 0 to T."""
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"scores: expected shape (T, K) with K at least 1, got {scores.shape}")
    check("scores", scores, scores.shape)
    check_increasing("starts", starts, len(scores))
    return scores.shape
