"""Where tests run in several processes, those of this folder run in one: they start processes of their own, and share runs."""
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("mpi"))
