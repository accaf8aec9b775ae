"""The orthogonal map that brings paired points nearest to each other.  Schönemann 1966; Conneau et al. 2018, eq. 2.

Points are rows, a map works on columns: mapped = W x for one point x, X Wᵀ for all rows of X.

    W = argmin Σ_i |W x_i - y_i|²  over orthogonal W     = U Vᵀ      with  U Σ Vᵀ = SVD(Yᵀ X)

Bari et al. 2020, eq. 5, has the transpose, V Uᵀ with SVD(Xᵀ Y): right for row vectors multiplied from the left, Y ≈ X W.
Test: tests/alignment/test_procrustes.py
"""
from __future__ import annotations

from minixl.backend import Array, array_module


def procrustes(x: Array, y: Array) -> Array:
    """x (n, H), y (n, H), pairs in rows -> W (H, H), orthogonal, in the dtype of x."""
    if x.shape != y.shape or x.ndim != 2 or not len(x):
        raise ValueError(f"y: expected as many rows and columns as x, at least one pair, got {x.shape} and {y.shape}")
    xp = array_module(x, y)
    product = (y.T @ x).astype(xp.float64)                                             # (H, H)
    left, _, right = xp.linalg.svd(product)
    return (left @ right).astype(x.dtype)
