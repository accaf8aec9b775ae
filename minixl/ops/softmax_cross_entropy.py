"""Softmax and cross-entropy in one op: the mean negative log-likelihood of the gold classes.

    forward    loss = 1/N Σ_n  -log softmax(logits_n)[label_n]           over the N rows with label >= 0
    backward   dlogits_n = dloss/N · (softmax(logits_n) - onehot(label_n)),   0 for a row whose label is negative

A negative label (-100, as in PyTorch) excludes a row.  If all rows are excluded, the loss is 0.
CUDA version: kernels/softmax_cross_entropy.cu.  Checked in tests/ops/test_softmax_cross_entropy.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, by_rows, op
from minixl.ops.softmax import log_softmax_forward


class SoftmaxCrossEntropyCache(NamedTuple):
    log_probs: Array  # (N, K)
    labels: Array     # (N,)     negative: excluded


@op
def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, SoftmaxCrossEntropyCache]:
    """logits (N, K), labels (N,) -> loss, a scalar array."""
    xp = array_module(logits, labels)
    log_probs, _ = log_softmax_forward(logits)
    scored = labels >= 0
    gold = log_probs[xp.arange(len(labels)), xp.where(scored, labels, 0)]      # (N,)
    loss = -(gold * scored).sum() / max(int(scored.sum()), 1)
    return loss.astype(logits.dtype), SoftmaxCrossEntropyCache(log_probs, labels)


@op
def softmax_cross_entropy_backward(dloss: Array, cache: SoftmaxCrossEntropyCache) -> tuple[Array, dict[str, Array]]:
    """dloss scalar -> dlogits (N, K)."""
    log_probs, labels = cache
    xp = array_module(log_probs)
    scored = labels >= 0
    gold = xp.where(scored, labels, 0)                                         # (N,)
    shares = (scored * (dloss / max(int(scored.sum()), 1)))[:, None].astype(log_probs.dtype)   # (N, 1)
    dlogits = xp.empty_like(log_probs)

    def block(rows: slice) -> None:
        out = xp.exp(log_probs[rows], out=dlogits[rows])
        out[xp.arange(len(out)), gold[rows]] -= 1
        out *= shares[rows]

    by_rows(block, len(dlogits), dlogits.shape[1], xp, passes=4)
    return dlogits, {}
