"""Arrays with JSON values in one file; a damaged file is one line."""
import numpy as np
import pytest

from minixl.alignment.storage import load_arrays, save_arrays
from minixl.errors import UserError


def test_a_round_trip(tmp_path):
    state = np.random.default_rng(1).bit_generator.state
    save_arrays(tmp_path / "a.checkpoint", {"mapping": np.eye(3, dtype=np.float32).T}, {"rng": state, "curve": [0.1]})
    arrays, values = load_arrays(tmp_path / "a.checkpoint")
    np.testing.assert_array_equal(arrays["mapping"], np.eye(3))
    assert values == {"rng": state, "curve": [0.1]}
    save_arrays(tmp_path / "none", {}, 5)
    assert load_arrays(tmp_path / "none")[1] == 5


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "restart-1.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"restart-1.safetensors: damaged \(.*\); remove it and continue with --resume"):
        load_arrays(path)
