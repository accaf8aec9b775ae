"""Distance between the means and the variances of two clouds of points, as whole vectors.  Bao et al. 2019, section 2.2, L_mv.

    forward    m = mean of the points, v = mean (point - m)²                                    per dimension, of x and of y
               value = mean_weight · |m_x - m_y| / (‖m_x‖₁ + ‖m_y‖₁ + ε) + variance_weight · |v_x - v_y| / (‖v_x‖₁ + ‖v_y‖₁ + ε)
    backward   of a ratio r = |a - b| / S:   da = (a - b) / (|a - b| S) - sign(a) r / S,   db likewise with b - a
               dx_i = dm_x / n + 2 dv_x (x_i - m_x) / n,   dy_j likewise                        0 where |a - b| is 0

This is the formula of the paper; its code has the other one, moment_distance.py.  Checked in tests/ops/test_moment_norms.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op
from minixl.ops.average_linkage import check_points

EPSILON = 1e-8


class Centred(NamedTuple):
    offsets: Array    # (n, H)  points without their mean
    mean: Array       # (H,)
    variance: Array   # (H,)


class MomentNormsCache(NamedTuple):
    x: Centred
    y: Centred
    weights: tuple[float, float]


@op
def moment_norms_forward(x: Array, y: Array, *, mean_weight: float, variance_weight: float) -> tuple[Array, MomentNormsCache]:
    """x (n, H), y (m, H), at least one point each -> value, a scalar array."""
    check_points(x, y)
    of_x, of_y = _centred(x), _centred(y)
    value = mean_weight * _ratio(of_x.mean, of_y.mean)[0] + variance_weight * _ratio(of_x.variance, of_y.variance)[0]
    return array_module(x).asarray(value, x.dtype), MomentNormsCache(of_x, of_y, (mean_weight, variance_weight))


@op
def moment_norms_backward(dvalue: Array, cache: MomentNormsCache) -> tuple[Array, dict[str, Array]]:
    """dvalue scalar -> dx (n, H) and {"y": dy}, (m, H)."""
    x, y, (mean_weight, variance_weight) = cache
    _, dmean_x, dmean_y = _ratio(x.mean, y.mean)
    _, dvariance_x, dvariance_y = _ratio(x.variance, y.variance)
    means, variances = float(dvalue) * mean_weight, float(dvalue) * variance_weight
    return (_gradient(x, dmean_x, dvariance_x, means, variances),
            {"y": _gradient(y, dmean_y, dvariance_y, means, variances)})


def _centred(points: Array) -> Centred:
    mean = points.mean(axis=0)
    offsets = points - mean
    return Centred(offsets, mean, (offsets * offsets).mean(axis=0))


def _ratio(a: Array, b: Array) -> tuple[float, Array, Array]:
    """a, b (H,) -> |a - b| / (‖a‖₁ + ‖b‖₁ + ε) and its gradients."""
    xp, number = array_module(a, b), a.dtype.type
    difference = a - b
    norm, total = float(xp.sqrt((difference * difference).sum())), float(xp.abs(a).sum() + xp.abs(b).sum()) + EPSILON
    if not norm:
        return 0.0, xp.zeros_like(a), xp.zeros_like(b)
    direction, shrink = difference * number(1 / (norm * total)), number(norm / total ** 2)
    return norm / total, direction - xp.sign(a) * shrink, -direction - xp.sign(b) * shrink


def _gradient(cloud: Centred, dmean: Array, dvariance: Array, means: float, variances: float) -> Array:
    number, count = dmean.dtype.type, len(cloud.offsets)
    return cloud.offsets * (dvariance * number(2 * variances / count)) + dmean * number(means / count)
