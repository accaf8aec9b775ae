"""Mistakes that only a device shows are caught: planted in ops and steps, each makes a test of the GPU variants fail."""
import numpy as np
import pytest

from minixl import backend
from minixl.ops.gelu import gelu_forward
from minixl.ops.layernorm import layernorm_backward, layernorm_forward
from minixl.ops.softmax_cross_entropy import softmax_cross_entropy_forward
from tests.device.indexing import RepeatedIndices
from tests.conftest import HAS_DEVICE
from tests.device.crossings import NUMPY, TO_HOST, by_line, crossings
from tests.device.stand_in import stand_in
from tests.mutants import mutant

pytestmark = pytest.mark.skipif(HAS_DEVICE, reason="the stand-in would stand beside a real device")
LAYERNORM, LOSS = "minixl.ops.layernorm", "minixl.ops.softmax_cross_entropy"


@pytest.fixture
def on_device(monkeypatch):
    monkeypatch.setenv("MINIXL_KERNELS", "0")
    with stand_in() as module:
        yield module


def forward(cp, function=layernorm_forward):
    rng = np.random.default_rng(0)
    return function(cp.asarray(rng.normal(size=(5, 8))), *map(cp.asarray, rng.normal(size=(2, 8))))


def test_a_numpy_array_handed_to_an_op(on_device):
    """One parameter was left on the CPU."""
    cp = on_device
    with pytest.raises(ValueError, match="expected all arrays on one device"):
        layernorm_forward(cp.ones((2, 3)), np.ones(3), cp.ones(3))
    with pytest.raises(TypeError, match="Unsupported type <class 'numpy.ndarray'>"):
        layernorm_backward(cp.ones((5, 8)), forward(cp)[1]._replace(weight=np.ones(8)))


@pytest.mark.parametrize("old, new, error", [
    ('xp.einsum("th,th->t", centered, centered)', "(centered * centered).sum(axis=1, where=True)", TypeError),   # CuPy lacks it
    ("[:, None], out=centered)", "[:, None], out=centered, where=True)", TypeError),
    ("xp.multiply(centered, weight, out=out)", "xp.multiply(centered, __import__('numpy').asarray(weight), out=out)", TypeError),
    ("xp.multiply(centered, weight, out=out)", "xp.multiply(centered, weight[:, None].T * xp.ones(len(out)), out=out)", ValueError),
    ("rstd[rows] = 1 /", "rstd[rows] = __import__('numpy').ones(len(x))[:, None] /", TypeError),
], ids=["reduction", "where", "implicit copy", "shape", "host operand"])
def test_what_cupy_refuses(on_device, old, new, error):
    changed = mutant(LAYERNORM, old, new)
    with pytest.raises(error):
        forward(on_device, changed.layernorm_forward)


def test_a_function_that_cupy_lacks(on_device):
    changed = mutant(LAYERNORM, "xp.sqrt(", "xp.spacing(")
    with pytest.raises(AttributeError, match="has no attribute 'spacing'"):
        forward(on_device, changed.layernorm_forward)


def test_numpys_function_on_a_device_array(on_device):
    """CuPy passes it on, so it gives the right result; the fixture `cuda` reports it, since the next one may not exist there."""
    changed = mutant(LAYERNORM, "xp.sqrt(", "__import__('numpy').sqrt(")
    with crossings() as seen:
        forward(on_device, changed.layernorm_forward)
    assert by_line(seen, NUMPY).total() == 1


def test_the_fixture_reports_it(request):
    """Its teardown, after a call of NumPy's function from a file of minixl."""
    fixture = request._fixturemanager.getfixturedefs("cuda", request.node)[-1].func()
    cp = next(fixture)
    eval(compile("np.exp(x)", backend.__file__, "eval"), {"np": np, "x": cp.ones(2)})
    with pytest.raises(AssertionError, match="NumPy's functions were called with device arrays"):
        next(fixture)


def test_a_hidden_wait(on_device):
    """A .get() in the loss of every step: one more than the budget."""
    cp = on_device
    logits, labels = cp.ones((3, 4), np.float32), cp.asarray([0, 1, 2])
    with crossings() as before:
        softmax_cross_entropy_forward(logits, labels)
    changed = mutant(LOSS, "scored = labels >= 0", "scored = xp.asarray((labels >= 0).get())")
    with crossings() as after:
        changed.softmax_cross_entropy_forward(logits, labels)
    assert by_line(after, TO_HOST).total() == by_line(before, TO_HOST).total() + 1


def test_two_values_for_one_element(on_device):
    """NumPy keeps the last of them, a device any."""
    cp = on_device
    x = cp.zeros(3)
    with pytest.raises(RepeatedIndices):
        x[cp.asarray([1, 1])] = cp.asarray([1.0, 2.0])


def test_memory_that_nobody_has_written(on_device):
    """What `empty` returns is not zero on a device, either."""
    cp = on_device
    assert bool(cp.isnan(cp.empty(3)).all()) and bool((cp.empty(3, np.int64) == -1).all())


def test_the_unchanged_ops_pass(on_device):
    """Otherwise the mistakes above would prove nothing."""
    cp = on_device
    y, cache = forward(cp)
    layernorm_backward(y, cache)
    gelu_forward(y)
    assert y.shape == (5, 8) and not np.isnan(y.get()).any()
