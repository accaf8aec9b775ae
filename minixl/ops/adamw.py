"""One step of Adam with decoupled weight decay, in place.  Kingma & Ba 2015, alg. 1; Loshchilov & Hutter 2019, alg. 2.

    p ← p · (1 - lr · decay)
    m ← β₁ m + (1 - β₁) g
    v ← β₂ v + (1 - β₂) g²
    p ← p - lr/(1-β₁ᵗ) · m / (√v / √(1-β₂ᵗ) + eps)                 t: this step, counted from 1

minixl/optim.py calls it on slices of the flat parameter buffer.  CUDA version: kernels/adamw.cu.
Checked against torch.optim.AdamW in tests/test_optim.py.
"""
from math import sqrt

from minixl.backend import Array, array_module, op


@op
def adamw_step(value: Array, grad: Array, m: Array, v: Array, *, lr: float, weight_decay: float,
               betas: tuple[float, float], eps: float, steps: int) -> None:
    """Update value, m, v, (n,) or (n, H), in place from grad of the same shape; `steps` is t."""
    xp, number, (beta1, beta2) = array_module(value), value.dtype.type, betas
    if weight_decay:
        value *= number(1 - lr * weight_decay)
    scratch = grad * number(1 - beta1)
    m *= number(beta1)
    m += scratch
    xp.multiply(grad, grad, out=scratch)
    scratch *= number(1 - beta2)
    v *= number(beta2)
    v += scratch
    xp.sqrt(v, out=scratch)
    scratch *= number(1 / sqrt(1 - beta2 ** steps))
    scratch += number(eps)
    xp.divide(m, scratch, out=scratch)
    scratch *= number(lr / (1 - beta1 ** steps))
    value -= scratch
