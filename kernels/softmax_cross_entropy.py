"""Launch kernels/softmax_cross_entropy.cu.  Same contract and cache as minixl.ops.softmax_cross_entropy."""
import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import block_threads, check, check_matrix, float32_only, size
from minixl.ops import softmax_cross_entropy as op
from minixl.ops.softmax_cross_entropy import SoftmaxCrossEntropyCache

MEAN_THREADS = 1024   # in the one block that sums all rows


def threads_for(classes: int) -> int:
    """One warp per row for a tag set, more for a vocabulary."""
    return 32 if classes <= 256 else 256


@float32_only(op.softmax_cross_entropy_forward)
def softmax_cross_entropy_forward(logits: Array, labels: Array, *,
                                  threads: int | None = None) -> tuple[Array, SoftmaxCrossEntropyCache]:
    """logits (N, K), labels (N,) int64 -> loss, a scalar array."""
    rows, classes = check_matrix("logits", logits)
    check("labels", labels, (rows,), np.int64)
    log_probs, losses, loss, scored = (kernels.empty(logits, shape) for shape in (logits.shape, (rows,), (1,), (1,)))
    if rows:
        _load("rows")((rows,), block_threads(threads or threads_for(classes)),
                      (logits, labels, log_probs, losses, size("K", classes)))
    _load("mean")((1,), (MEAN_THREADS,), (losses, labels, loss, scored, size("N", rows), np.int32(1)))
    return loss.reshape(()), SoftmaxCrossEntropyCache(log_probs, labels)


@float32_only(op.softmax_cross_entropy_backward)
def softmax_cross_entropy_backward(dloss: Array, cache: SoftmaxCrossEntropyCache, *,
                                   threads: int | None = None) -> tuple[Array, dict[str, Array]]:
    """dloss scalar -> dlogits (N, K)."""
    log_probs, labels = cache
    rows, classes = check_matrix("cache.log_probs", log_probs)
    check("cache.labels", labels, (rows,), np.int64)
    dloss = array_module(log_probs).asarray(dloss, np.float32)
    if dloss.size != 1:
        raise ValueError(f"dloss: expected one number, got shape {dloss.shape}")
    dloss = dloss.reshape(1)
    dlogits, unused, scored = (kernels.empty(log_probs, shape) for shape in (log_probs.shape, (1,), (1,)))
    if rows:
        _load("mean")((1,), (MEAN_THREADS,), (dloss, labels, unused, scored, size("N", rows), np.int32(0)))
        _load("backward")((rows,), block_threads(threads or threads_for(classes)),
                          (dloss, scored, log_probs, labels, dlogits, size("K", classes)))
    return dlogits, {}


def _load(part: str):
    return kernels.load("softmax_cross_entropy.cu", f"softmax_cross_entropy_{part}")
