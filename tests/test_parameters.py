"""ParameterStore: views into flat buffers, names by module, patterns, and adding up gradients."""
import numpy as np
import pytest

from minixl.errors import UserError
from minixl.ops.embedding import RowSparse
from minixl.parameters import ALIGNMENT, ParameterStore
from tests.ops.checks import dense

SHAPES = {"bert.table": (6, 2), "bert.layer.0.dense.weight": (3, 5), "bert.layer.0.dense.bias": (3,),
          "bert.layer.10.dense.weight": (2, 2), "classifier.bias": (2,)}


def store(dtype=np.float64) -> ParameterStore:
    return ParameterStore(SHAPES, tables=["bert.table"], dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_aligned_views_that_do_not_overlap(dtype):
    ours = store(dtype)
    flat = [p for p in ours if p.offset is not None]
    for number, parameter in enumerate(flat, 1):
        assert parameter.value.shape == parameter.grad.shape == SHAPES[parameter.name]
        assert parameter.value.dtype == parameter.grad.dtype == dtype and parameter.offset % ALIGNMENT == 0
        parameter.value[...], parameter.grad[...] = number, -number
    for number, parameter in enumerate(flat, 1):
        assert (parameter.value == number).all() and (parameter.grad == -number).all()
    assert ours.values.sum() == sum(n * p.value.size for n, p in enumerate(flat, 1)) == -ours.grads.sum()
    matrices = [p.offset for p in flat if p.value.ndim > 1]
    assert max(matrices) < min(p.offset for p in flat if p.value.ndim == 1), "matrices come first"


@pytest.mark.parametrize("rows", [10**11, 10**19])
@pytest.mark.parametrize("tables", [[], ["words"]])
def test_too_large_for_any_machine(rows, tables):
    with pytest.raises(UserError, match=r"^out of memory: the weights of this model need [\d,]+,000\.0 GB; the largest parameter "
                                        rf"is words with shape \({rows}, 100\); use a smaller model$"):
        ParameterStore({"bias": (3,), "words": (rows, 100)}, tables=tables)


def test_like_a_dictionary_in_order():
    ours = store()
    assert [p.name for p in ours] == ours.names() == list(SHAPES) and len(ours) == 5
    assert "bert.table" in ours and "bert" not in ours
    assert ours.count() == 12 + 15 + 3 + 4 + 2
    with pytest.raises(KeyError, match="missing"):
        ours["missing"]


def test_under_a_prefix():
    ours = store()
    layer = ours.under("bert.layer.0")
    assert layer.keys() == {"dense"} and layer["dense"].keys() == {"weight", "bias"}
    assert layer["dense"]["bias"] is ours["bert.layer.0.dense.bias"].value
    assert ours.under("bert.layer.1") == {}, "bert.layer.10 is not under bert.layer.1"
    assert ours.under("classifier")[""]["bias"] is ours["classifier.bias"].value


def test_patterns():
    ours = store()
    assert ours.match(["*.bias"]) == ["bert.layer.0.dense.bias", "classifier.bias"]
    assert ours.match(["classifier.*", "bert.layer.*"]) == [n for n in SHAPES if n != "bert.table"], "in the store's order"
    assert ours.match([]) == []
    with pytest.raises(UserError, match=r"^parameters: "
                                        r"the pattern 'bert.layers.\*' matches no parameter, for example 'bert.table'"):
        ours.match(["*.bias", "bert.layers.*"])


def test_freezing():
    ours = store()
    assert ours.freeze(["bert.layer.*"]) == ["bert.layer.0.dense.weight", "bert.layer.0.dense.bias", "bert.layer.10.dense.weight"]
    assert ours.names(trainable=True) == ["bert.table", "classifier.bias"]
    assert (ours.count(trainable=False), ours.count(trainable=True)) == (22, 14)
    ours.accumulate("", {"classifier": {"bias": np.ones(2)}, "bert.layer.10.dense": {"weight": np.ones((2, 2))}})
    assert not ours["bert.layer.10.dense.weight"].grad.any() and (ours["classifier.bias"].grad == 1).all()


def test_gradients_add_up(rng):
    ours, weight = store(), rng.normal(size=(3, 5))
    original = weight.copy()
    for _ in range(2):
        ours.accumulate("bert.layer.0", {"dense": {"weight": weight, "bias": np.ones(3)}})
    np.testing.assert_array_equal(ours["bert.layer.0.dense.weight"].grad, 2 * weight)
    np.testing.assert_array_equal(ours["bert.layer.0.dense.bias"].grad, [2, 2, 2])
    np.testing.assert_array_equal(weight, original)
    ours.zero_grad()
    assert not ours.grads.any()
    with pytest.raises(KeyError, match="bert.layer.0.dense.scale"):
        ours.accumulate("bert.layer.0", {"dense": {"scale": 1.0}})


def test_row_sparse_gradients(rng):
    """In a table they stay sparse; in any other parameter they are added to its rows."""
    ours = store()
    first = RowSparse(np.array([1, 4]), rng.normal(size=(2, 2)))
    second = RowSparse(np.array([0, 4]), rng.normal(size=(2, 2)))
    for grad in (first, second):
        ours.accumulate("bert", {"table": grad})
    expected = dense(first, (6, 2)) + dense(second, (6, 2))
    np.testing.assert_array_equal(ours["bert.table"].grad.rows, [0, 1, 4])
    np.testing.assert_array_equal(dense(ours["bert.table"].grad, (6, 2)), expected)
    for _ in range(2):
        ours.accumulate("bert.layer.10.dense", {"weight": RowSparse(np.array([1]), np.array([[3.0, 5.0]]))})
    np.testing.assert_array_equal(ours["bert.layer.10.dense.weight"].grad, [[0, 0], [6, 10]])
    ours.zero_grad()
    assert ours["bert.table"].grad is None and not ours.grads.any()
    ours.freeze(["bert.table"])
    ours.accumulate("bert", {"table": first})
    assert ours["bert.table"].grad is None
