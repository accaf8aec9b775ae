"""The data of all tests of AdvPicker's stages, and one whole run to compare with.  No test may change either."""
import pytest

from tests.whole_runs import advpicker, run, write_data


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def whole(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    run(folder, out, advpicker())
    return out
