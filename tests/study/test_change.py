"""A change is made in a copy of the package, and what is wrong with it is one line."""
import pytest

from minixl.errors import UserError
from minixl.study.change import Change, changed_source, check_changed


def test_the_copy_is_checked_with_the_change():
    change = Change("minixl/ops/gelu.py", "xp.multiply(dy[rows], cache.slope[rows]", "xp.multiply(dy[rows], 2")
    name, source = changed_source(change)
    assert str(name) == "ops/gelu.py" and "xp.multiply(dy[rows], 2" in source
    *lines, status = check_changed(change, ["gelu"])
    assert status == 1 and any("gelu" in line and line.endswith("FAILED") for line in lines)


def test_mapped_packages_are_found():
    assert str(changed_source(Change("kernels/gelu.py", "import", "import "))[0]) == "kernels/gelu.py"


@pytest.mark.parametrize(("change", "message"), [
    (("ops/glu.py", "x", "y"), "ops/glu.py: expected a Python file of minixl, for example ops/gelu.py, found none"),
    (("../setup.cfg", "x", "y"), "expected a Python file of minixl"), (("", "x", "y"), "expected a Python file of minixl"),
    (("ops", "x", "y"), "expected a Python file of minixl"),
    (("ops/gelu.py", "no such text", "y"), "found no 'no such text' in the file"),
    (("ops/gelu.py", "", "y"), "expected text to replace"),
    (("ops/gelu.py", "xp.empty_like(dy)", "("), "is no Python any more")])
def test_a_change_that_cannot_be_made_is_one_line(change, message):
    with pytest.raises(UserError, match=message):
        changed_source(Change(*change))
