"""Launch kernels/adamw.cu.  Same contract as minixl.ops.adamw."""
from math import sqrt

import numpy as np

from minixl import kernels
from minixl.backend import Array
from minixl.kernels import block_threads, capped_grid, check, float32_only
from minixl.ops import adamw as op

THREADS = 256


@float32_only(op.adamw_step)
def adamw_step(value: Array, grad: Array, m: Array, v: Array, *, lr: float, weight_decay: float,
               betas: tuple[float, float], eps: float, steps: int, threads: int = THREADS) -> None:
    """Update value, m, v, (n,) or (n, H), in place from grad of the same shape; `steps` counts from 1."""
    for name, array in (("value", value), ("grad", grad), ("m", m), ("v", v)):
        check(name, array, value.shape)
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    if not value.size:
        return
    beta1, beta2 = betas
    factors = (1 - lr * weight_decay, beta1, 1 - beta1, beta2, 1 - beta2, 1 / sqrt(1 - beta2 ** steps), eps,
               lr / (1 - beta1 ** steps))
    kernels.load("adamw.cu", "adamw_step")(
        capped_grid(value.size, threads), block_threads(threads),
        (value, grad, m, v, *map(np.float32, factors), np.int64(value.size)))
