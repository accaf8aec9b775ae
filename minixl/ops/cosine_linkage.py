"""Energy distance of the directions of two clouds of points: average linkage with the cosine distance 1 - cos(a, b).

    forward    value = 2 avl(x, y) - avl(x, x) - avl(y, y),     avl(a, b) = mean over all pairs of 1 - â · b̂,     â = a / |a|
                     = |mean x̂ - mean ŷ|²
    backward   g = 2 (mean x̂ - mean ŷ),    dx̂ = g/n,  dŷ = -g/m,    dx = (dx̂ - x̂ (x̂ · dx̂)) / |x|,   dy likewise

The sums over all pairs are products of sums, so nothing grows with n².  It is a variant of Bao et al. 2019, L_avl, which uses the
Euclidean distance (average_linkage.py).  A point at the origin has no direction: its x̂ and its gradient are 0.
Checked in tests/ops/test_cosine_linkage.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op
from minixl.ops.average_linkage import check_points


class Directions(NamedTuple):
    unit: Array      # (n, H)
    inverse: Array   # (n, 1)  1 / |x|, or 0


class CosineLinkageCache(NamedTuple):
    x: Directions
    y: Directions
    difference: Array   # (H,)  mean x̂ - mean ŷ


@op
def cosine_linkage_forward(x: Array, y: Array) -> tuple[Array, CosineLinkageCache]:
    """x (n, H), y (m, H), at least one point each -> value, a scalar array."""
    check_points(x, y)
    of_x, of_y = _directions(x), _directions(y)
    difference = of_x.unit.mean(axis=0) - of_y.unit.mean(axis=0)                       # (H,)
    return (difference * difference).sum(), CosineLinkageCache(of_x, of_y, difference)


@op
def cosine_linkage_backward(dvalue: Array, cache: CosineLinkageCache) -> tuple[Array, dict[str, Array]]:
    """dvalue scalar -> dx (n, H) and {"y": dy}, (m, H)."""
    dmean = cache.difference * cache.difference.dtype.type(2 * float(dvalue))          # (H,)
    return _gradient(cache.x, dmean), {"y": _gradient(cache.y, -dmean)}


def _directions(points: Array) -> Directions:
    xp = array_module(points)
    norm = xp.sqrt((points * points).sum(axis=1, keepdims=True))                       # (n, 1)
    inverse = xp.where(norm > 0, 1 / xp.where(norm > 0, norm, 1), 0).astype(points.dtype)
    return Directions(points * inverse, inverse)


def _gradient(cloud: Directions, dmean: Array) -> Array:
    """dmean (H,), of the mean direction -> the gradient (n, H) of the points."""
    unit, inverse = cloud
    along = (unit @ dmean)[:, None]                                                    # (n, 1)
    return (dmean - unit * along) * (inverse / len(unit))
