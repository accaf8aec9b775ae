"""A tiny encoder for all tests of the page."""
import pytest

from tests.tiny import write_encoder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("page") / "encoder", layers=2)
