"""The checks before anything is measured."""
from minixl.bench.checks import require_writable


def test_checking_a_file_leaves_no_trace(tmp_path):
    (tmp_path / "old").write_text("figures")
    (tmp_path / "link").symlink_to(tmp_path / "new")
    for name in ("old", "new", "link"):
        require_writable("--json", tmp_path / name)
    require_writable("--json", None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old"] and (tmp_path / "link").is_symlink()
    assert (tmp_path / "old").read_text() == "figures"
