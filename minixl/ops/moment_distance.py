"""Distance between the means and the standard deviations of two clouds of points.  Bao et al. 2019, section 2.2, L_mv.

    forward    m = mean of the points, s = √(mean (point - m)²), a = mean |point|               per dimension, of x and of y
               u = (m_x - m_y) / (a_x + a_y + ε),    v = (s_x - s_y) / (s_x + s_y + ε)
               value = mean_weight · |u| + deviation_weight · |v|
    backward   du = mean_weight · u / |u|,    dv = deviation_weight · v / |v|                   0 where |u| or |v| is 0
               dx_i = (du - du · u · sign(x_i)) / (n (a_x + a_y + ε))
                      + dv (1 - v) (x_i - m_x) / (n s_x (s_x + s_y + ε))
               dy_j = (-du - du · u · sign(y_j)) / (m (a_x + a_y + ε))
                      - dv (1 + v) (y_j - m_y) / (m s_y (s_x + s_y + ε))

The denominators keep a model from making the distance small by making its states small.  The paper divides the norms of whole
vectors, and variances; this is the form of its code, in which every dimension has a denominator.
Checked in tests/ops/test_moment_distance.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op
from minixl.ops.average_linkage import check_points

EPSILON = 1e-8


class Moments(NamedTuple):
    points: Array     # (n, H)
    mean: Array       # (H,)
    deviation: Array  # (H,)   standard deviation
    size: Array       # (H,)   mean |point|


class MomentDistanceCache(NamedTuple):
    x: Moments
    y: Moments
    u: Array          # (H,)
    v: Array          # (H,)
    weights: tuple[float, float]


@op
def moment_distance_forward(x: Array, y: Array, *, mean_weight: float,
                            deviation_weight: float) -> tuple[Array, MomentDistanceCache]:
    """x (n, H), y (m, H), at least one point each -> value, a scalar array."""
    check_points(x, y)
    of_x, of_y = _moments(x), _moments(y)
    u = (of_x.mean - of_y.mean) / _sizes(of_x, of_y)                                   # (H,)
    v = (of_x.deviation - of_y.deviation) / _deviations(of_x, of_y)                    # (H,)
    value = mean_weight * _norm(u) + deviation_weight * _norm(v)
    return (array_module(x).asarray(value, x.dtype),
            MomentDistanceCache(of_x, of_y, u, v, (mean_weight, deviation_weight)))


@op
def moment_distance_backward(dvalue: Array, cache: MomentDistanceCache) -> tuple[Array, dict[str, Array]]:
    """dvalue scalar -> dx (n, H) and {"y": dy}, (m, H)."""
    x, y, u, v, (mean_weight, deviation_weight) = cache
    du, dv = _unit(u, float(dvalue) * mean_weight), _unit(v, float(dvalue) * deviation_weight)
    du, dv = du / _sizes(x, y), dv / _deviations(x, y)
    return (_gradient(x, du, -du * u, dv * (1 - v)), {"y": _gradient(y, -du, -du * u, -dv * (1 + v))})


def _moments(points: Array) -> Moments:
    xp = array_module(points)
    mean = points.mean(axis=0)
    centred = points - mean
    return Moments(points, mean, xp.sqrt((centred * centred).mean(axis=0)), xp.abs(points).mean(axis=0))


def _gradient(cloud: Moments, dmean: Array, dsize: Array, ddeviation: Array) -> Array:
    """Return the gradient (n, H) of points from those of their moments, (H,) each; a deviation of 0 has none."""
    xp = array_module(dmean)
    spread = xp.where(cloud.deviation > 0, cloud.deviation, 1)
    dpoints = (cloud.points - cloud.mean) * (ddeviation / spread)
    dpoints += dmean
    dpoints += xp.sign(cloud.points) * dsize
    dpoints /= len(cloud.points)
    return dpoints


def _sizes(x: Moments, y: Moments) -> Array:
    return x.size + y.size + x.size.dtype.type(EPSILON)


def _deviations(x: Moments, y: Moments) -> Array:
    return x.deviation + y.deviation + x.size.dtype.type(EPSILON)


def _norm(vector: Array) -> Array:
    return array_module(vector).sqrt((vector * vector).sum())


def _unit(vector: Array, length: float) -> Array:
    """Return the vector with this length, or zeros if it is 0."""
    norm = float(_norm(vector))
    return vector * vector.dtype.type(length / norm if norm else 0)
