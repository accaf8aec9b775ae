"""The comparison in each module's own test must catch every planted mistake."""
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests import test_optim
from tests.mutants import MISTAKES, mutant
from tests.ops import (test_attention, test_binary_cross_entropy, test_dropout, test_embedding, test_gelu, test_layernorm,
                       test_linear, test_masked_softmax_dropout, test_mean_pooling, test_soft_squared_error, test_softmax,
                       test_softmax_cross_entropy)
from tests.ops.checks import matches_central_difference, matches_pytorch

OPS = {f"minixl.ops.{file.__name__.rpartition('.test_')[2]}": file
       for file in (test_attention, test_binary_cross_entropy, test_dropout, test_embedding, test_gelu, test_layernorm, test_linear,
                    test_masked_softmax_dropout, test_mean_pooling, test_soft_squared_error, test_softmax,
                    test_softmax_cross_entropy)}
MUTANTS = [pytest.param(module, *mistake, id=f"{module.rpartition('.')[2]}: {mistake[0]}")
           for module, mistakes in MISTAKES.items() for mistake in mistakes]


def comparisons(module: str, changed, rng, check=matches_pytorch) -> Iterator[Callable[[], None]]:
    """Yield the comparisons of the module's test, one call per shape."""
    if module == "minixl.optim":
        yield lambda: test_optim.adamw_equals_torch(changed, rng)
        return
    if module == "minixl.ops.adamw":
        user = mutant("minixl.optim", "import adamw_step", f"import adamw_step  # then {module}'s mutant")
        user.adamw_step = changed.adamw_step
        yield lambda: test_optim.adamw_equals_torch(user, rng)
        return
    file = OPS[module]
    makers = [file.case, file.log_case] if hasattr(file, "log_case") else [file.case]
    for make in makers:
        for shape in file.SHAPES:
            yield lambda make=make, shape=shape: check(make(changed, rng, shape), np, rng)
    if hasattr(file, "check_float32"):
        yield lambda: file.check_float32(changed)


def is_caught(calls: Iterator[Callable[[], None]]) -> bool:
    """Whether a comparison fails, or NumPy warns about a division by zero; any other error means a bad mutant."""
    for call in calls:
        try:
            call()
        except (AssertionError, RuntimeWarning):
            return True
    return False


@pytest.mark.parametrize("module, what, old, new", MUTANTS)
def test_is_caught(rng, module, what, old, new):
    assert is_caught(comparisons(module, mutant(module, old, new), rng)), f"{module}: no comparison notices: {what}"


@pytest.mark.parametrize("module", MISTAKES)
def test_the_unchanged_module_passes(rng, module):
    """The harness itself: an unchanged module passes the comparisons."""
    first_line = MISTAKES[module][0][1].partition("\n")[0]
    assert not is_caught(comparisons(module, mutant(module, first_line, f"{first_line}  "), rng))


def test_there_are_enough():
    assert len(MUTANTS) >= 30 and MISTAKES.keys() == {*OPS, "minixl.optim", "minixl.ops.adamw"}


def test_a_mistake_that_no_longer_applies_is_an_error():
    with pytest.raises(AssertionError, match="minixl.ops.linear no longer contains 'y = z': adapt the planted mistake"):
        mutant("minixl.ops.linear", "y = z", "y = x")


def test_central_differences_catch_the_layernorm_mistakes_too(rng):
    """The second, independent comparison finds all wrong gradients too; it cannot find wrong values."""
    forward = {"eps forgotten", "variance with H - 1", "bias forgotten"}
    for what, old, new in MISTAKES["minixl.ops.layernorm"]:
        if what not in forward:
            calls = comparisons("minixl.ops.layernorm", mutant("minixl.ops.layernorm", old, new), rng, matches_central_difference)
            assert is_caught(calls), what
