"""What `minixl train` without arguments reads, with the encoder left out."""
from pathlib import Path

import pytest

from minixl import __version__
from minixl.run import quickstart


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(quickstart, "fetch_e5_small", lambda: Path("encoder"))
    return tmp_path / "minixl"


def test_the_sample_of_this_version_is_read_whatever_older_ones_left(cache):
    (cache / "sample" / "ner" / "nl").mkdir(parents=True)
    (cache / "sample" / "ner" / "nl" / "test.txt").write_text("of an older version\tO\n")
    lines = []
    inputs = quickstart.quickstart_inputs(lines.append)
    sample = cache / f"sample-{__version__}" / "ner"
    assert inputs.source == [("en", sample / "en" / "train.txt")] and inputs.dev == [("en", sample / "en" / "dev.txt")]
    assert dict(inputs.test) == {language: sample / language / "test.txt" for language in ("en", "es", "de", "nl")}
    assert all(path.stat().st_size > 1000 for _, path in [*inputs.source, *inputs.dev, *inputs.test])
    assert lines == [f"encoder: encoder\nsample corpus: {sample}"]


def test_a_sample_that_is_there_is_not_written_again_and_half_of_one_is_never_there(cache, monkeypatch):
    def full(folder):
        (folder / "begun.txt").write_text("")
        raise OSError(28, "No space left on device")

    quickstart.quickstart_inputs(print)
    monkeypatch.setattr(quickstart, "write_sample", full)
    quickstart.quickstart_inputs(print)                                # nothing is written
    monkeypatch.setattr(quickstart, "__version__", "next")
    with pytest.raises(Exception, match="cannot be written"):
        quickstart.quickstart_inputs(print)
    assert [entry.name for entry in cache.iterdir()] == [f"sample-{__version__}"]
