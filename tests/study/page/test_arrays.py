"""Packed arrays: what is kept has its bits, what is left out is evenly spaced, statistics are of everything."""
from base64 import b64decode

import numpy as np
import pytest

from minixl.study.page.arrays import BINS, Arrays, kept_places, kept_shape


def unpacked(packed):
    """The kept part of an array, as page.js reads it."""
    values = np.frombuffer(b64decode(packed["data"]), np.dtype(f"<{packed['code']}" if packed["code"] != "u1" else "u1"))
    return values.reshape(packed["kept"])


def pack(*values, budget=10**9, **options):
    arrays = Arrays()
    for value in values:
        arrays.add(value, **options)
    return arrays.packed(budget)


@pytest.mark.parametrize("value", [
    np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7, np.arange(5) - 2, np.array([[True, False]]), 1 / np.arange(1, 4),
    np.array(0.1, np.float32), np.zeros((0, 3), np.float32), np.array([0.0, -np.inf, np.nan, 2.5]),
    np.arange(12.0).reshape(3, 4).T], ids=lambda value: f"{value.dtype} {value.shape}")
def test_an_array_that_fits_has_all_its_bits(value):
    packed, = pack(value)
    assert packed["shape"] == list(value.shape) and packed["type"] == str(value.dtype) and packed["kept"] == packed["table"]
    np.testing.assert_array_equal(unpacked(packed).reshape(value.shape), value)


def test_statistics_are_of_all_elements(rng):
    value = rng.normal(size=(300, 400)).astype(np.float32)
    packed, = pack(value, budget=400)
    np.testing.assert_allclose([packed["min"], packed["mean"], packed["max"], packed["norm"]],
                               [value.min(), value.mean(dtype=float), value.max(), np.linalg.norm(value.astype(float))], rtol=1e-12)
    assert len(packed["bins"]) == BINS and sum(packed["bins"]) == value.size
    assert packed["limit"] == pytest.approx(np.quantile(np.abs(value), 0.99))
    part = unpacked(packed)
    assert part.shape == tuple(packed["kept"]) and 60 <= part.size <= 100
    np.testing.assert_array_equal(part, value[np.ix_(kept_places(300, part.shape[0]), kept_places(400, part.shape[1]))])


def test_infinite_values_have_no_place_in_json():
    packed, = pack(np.array([1.0, -np.inf]))
    assert (packed["min"], packed["max"], packed["limit"]) == ("-inf", 1.0, 1.0)
    packed, = pack(np.full(3, np.nan))
    assert packed["max"] == "nan" and packed["limit"] == 0 and sum(packed["bins"]) == 0


def test_equal_arrays_are_one(rng):
    arrays, value = Arrays(), rng.normal(size=(3, 4))
    assert arrays.add(value) == arrays.add(value.copy()) == arrays.add(np.asfortranarray(value)) == 0
    assert arrays.add(value.astype(np.float32)) == 1 and arrays.add(value.reshape(4, 3)) == 2 and arrays.add(value + 1) == 3


@pytest.mark.parametrize("budget", [500, 3000, 20000, 10**6])
def test_the_budget_holds(rng, budget):
    values = [rng.normal(size=shape) for shape in ((3, 4), (50, 60), (1, 900), (700, 2))]
    packed = pack(*values, budget=budget)
    sizes = [8 * int(np.prod(one["kept"])) for one in packed]
    assert sum(sizes) <= max(budget, 4 * 8 * 20)
    assert packed[0]["kept"] == [3, 4] if budget >= 3000 else True
    whole, = pack(values[1], budget=100, whole=True)
    assert whole["kept"] == [50, 60]


@pytest.mark.parametrize(("shape", "most", "kept"), [
    ((27, 384), 715, (27, 26)), ((384, 384), 700, (26, 26)), ((1, 900), 100, (1, 100)), ((900, 2), 100, (50, 2)),
    ((3, 4), 12, (3, 4))])
def test_the_kept_part_is_about_square(shape, most, kept):
    assert kept_shape(shape, most) == kept and np.prod(kept) <= most
    rows = kept_places(shape[0], kept[0])
    assert rows[0] == 0 and rows[-1] < shape[0] and len(set(np.diff(rows))) <= 2
