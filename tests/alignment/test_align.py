"""Whole alignments on planted spaces: every method, both directions, several targets, resuming, failure, files."""
import json
from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import load_file

from minixl.alignment import align as module
from minixl.alignment import export, learners
from minixl.alignment.align import Request, Stopped, align
from minixl.alignment.normalization import Normalization
from minixl.alignment.settings import SCHEMA
from minixl.alignment.storage import load_arrays
from minixl.errors import UserError
from minixl.weights.word_vectors import read_vectors
from tests.alignment.planted import planted_spaces, write_vectors

WORDS, DIM = 1000, 16
QUICK = {"align.criterion_words": 500, "similarity.patience": 2, "similarity.start_words": 500, "adversarial.hidden": 8,
         "adversarial.epochs": 1, "adversarial.epoch_size": 10_000, "refine.iterations": 1}


class Silent:
    """A reporter that keeps the messages."""

    def __init__(self):
        self.messages, self.bars = [], []

    def message(self, text):
        self.messages.append(text)

    def start(self, total, done, label):
        self.bars.append((label, done))

    def advance(self, steps, text):
        """Show nothing."""

    def finish(self):
        """Show nothing."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """en, es and de: word i of one is word i of the others; dictionaries; numbers are spelt alike."""
    folder = tmp_path_factory.mktemp("vectors")
    spaces = planted_spaces(WORDS, DIM)
    other = np.linalg.qr(np.random.default_rng(5).normal(size=(DIM, DIM)))[0]
    vectors = {"en": spaces.x, "es": spaces.y, "de": spaces.x @ other.T}
    for language, matrix in vectors.items():
        write_vectors(folder / f"{language}.vec", names(language), matrix)
        entries = [f"{name(i, 'en')} {name(i, language)}\n" for i in range(50, 250)]
        (folder / f"en-{language}.txt").write_text("".join(entries), encoding="utf-8")
    return folder


def name(i, language):
    return str(i) if i < 100 else f"{language}{i}"


def names(language):
    return [name(i, language) for i in range(WORDS)]


def request(files, method="similarity", targets=("es",), seed=1, **values):
    dictionaries = {target: str(files / f"en-{target}.txt") for target in targets}
    return Request(("en", str(files / "en.vec")), {target: str(files / f"{target}.vec") for target in targets},
                   dictionaries if method == "dictionary" else {}, dictionaries,
                   SCHEMA.settings({**QUICK, "method": method, **values}), seed)


@pytest.mark.parametrize("moves", ["source", "target"])
@pytest.mark.parametrize("method", ["similarity", "identical", "dictionary"])
def test_methods_find_the_planted_rotation(files, tmp_path, method, moves):
    metrics = align(request(files, method, **{"align.map": moves}), tmp_path, Silent())
    one = metrics["targets"]["es"]
    assert one["refined"]["csls"]["1"] > 0.95 and one["refined"]["words"] == 200 and not one["failed"]
    assert one["criterion"] > 0.9 > one["chance"] and json.loads((tmp_path / "metrics.json").read_text()) == metrics
    rows = [line.split("\t") for line in (tmp_path / "es" / "dictionary.tsv").read_text(encoding="utf-8").splitlines()]
    right = np.mean([source.removeprefix("en") == target.removeprefix("es") for source, target, _ in rows])
    assert len(rows) == one["dictionary_pairs"] > 900 and right > 0.95
    check_vectors(files, tmp_path, moves)


def check_vectors(files, out, moves):
    """The exported files have all words, agree with each other, and are in one space; one language has not moved."""
    mapped = {}
    for language in ("en", "es"):
        tensors = load_file(out / f"{language}.safetensors")
        text = read_vectors(out / f"{language}.vec", strict=True)
        assert text.words == bytes(tensors["words"]).decode().split("\n") == names(language)
        np.testing.assert_allclose(text.matrix, tensors["vectors"], rtol=1e-5, atol=1e-7)
        mapped[language] = tensors["vectors"]
    assert (mapped["en"] * mapped["es"]).sum(axis=1).mean() > 0.9
    still = "es" if moves == "source" else "en"
    before = Normalization.fit(read_vectors(files / f"{still}.vec").matrix, ("unit", "center", "unit"))[1]
    np.testing.assert_allclose(mapped[still], before, atol=1e-5)
    mapping = load_arrays(out / "es" / "mapping.safetensors")[0]["mapping"]
    np.testing.assert_allclose(mapping @ mapping.T, np.eye(DIM), atol=1e-5)


def test_several_targets_share_the_source_space(files, tmp_path):
    metrics = align(request(files, targets=("es", "de")), tmp_path, Silent())
    assert metrics["targets"].keys() == {"es", "de"}
    spanish, german = (load_file(tmp_path / f"{language}.safetensors")["vectors"] for language in ("es", "de"))
    assert (spanish * german).sum(axis=1).mean() > 0.9, "no map was learnt between these two"


def test_the_best_of_several_attempts_counts(files, tmp_path, monkeypatch):
    monkeypatch.setattr(learners, "criterion", lambda *a: next(criteria))
    criteria = iter([0.2, 0.9, 0.3])
    one = align(request(files, "adversarial", seed=7, **{"align.restarts": 3}), tmp_path, Silent())["targets"]["es"]
    assert [attempt["seed"] for attempt in one["attempts"]] == [7, 8, 9]
    assert [attempt["criterion"] for attempt in one["attempts"]] == [0.2, 0.9, 0.3] and one["selected_seed"] == 8


def test_a_failed_map_is_announced(files, tmp_path):
    """The adversarial method with next to no training."""
    reporter = Silent()
    one = align(request(files, "adversarial"), tmp_path, reporter)["targets"]["es"]
    assert one["failed"] and one["refined"]["csls"]["1"] < 0.5
    assert len(reporter.messages) == 1
    assert reporter.messages[0].startswith("warning: en-es: THE MAP HAS FAILED: its criterion is ")
    assert "Try --method similarity" in reporter.messages[0]


@pytest.mark.parametrize("method", ["similarity", "adversarial"])
def test_resuming_gives_the_same_bits(files, tmp_path, monkeypatch, method):
    monkeypatch.setattr(learners, "CHUNK", 1)
    wanted = request(files, method, targets=("es", "de"), **{"align.restarts": 2})
    align(wanted, tmp_path / "whole", Silent())
    for stops in range(1, 60):
        calls = iter([False] * 6 + [True])
        try:
            reporter = Silent()
            align(wanted, tmp_path / "parts", reporter, resume=stops > 1, stop=lambda calls=calls: next(calls, True))
            break
        except Stopped:
            assert list((tmp_path / "parts").glob("*/restart-*.checkpoint")) and not (tmp_path / "parts" / "metrics.json").exists()
    assert stops > 2 and not list((tmp_path / "parts").glob("*/*.checkpoint"))
    for file in sorted((tmp_path / "whole").rglob("*")):
        if file.is_file() and file.name not in ("metrics.json",):
            assert file.read_bytes() == (tmp_path / "parts" / file.relative_to(tmp_path / "whole")).read_bytes(), file


def test_self_learning_improves_a_poor_map(files, tmp_path):
    """A dictionary of six entries in sixteen dimensions."""
    (tmp_path / "six.txt").write_text("".join(f"{name(i, 'en')} {name(i, 'es')}\n" for i in range(6)), encoding="utf-8")
    wanted = request(files, "dictionary", **{"refine.self_learning": True})._replace(dictionaries={"es": str(tmp_path / "six.txt")})
    one = align(wanted, tmp_path / "out", Silent())["targets"]["es"]
    assert one["unrefined"]["csls"]["1"] < 0.6 and one["refined"]["csls"]["1"] > 0.95
    assert (tmp_path / "out" / "es" / "self-learning.safetensors").is_file()


def test_resuming_with_other_options_is_refused(files, tmp_path):
    align(request(files, "identical"), tmp_path, Silent())
    with pytest.raises(UserError, match=r"--resume: \[refine\] in .*config.toml differs from this command"):
        align(request(files, "identical", **{"refine.iterations": 2}), tmp_path, Silent(), resume=True)
    with pytest.raises(UserError, match="--resume: seed in .*config.toml differs"):
        align(request(files, "identical", seed=2), tmp_path, Silent(), resume=True)


@pytest.fixture
def unread(monkeypatch):
    """No vectors may be read."""
    monkeypatch.setattr(module, "read_spaces", lambda *a: pytest.fail("vectors were read"))


def test_resuming_in_an_empty_folder_is_refused_before_anything_is_read(files, tmp_path, unread):
    with pytest.raises(UserError, match="--resume: .* has no config.toml, so there is nothing to continue"):
        align(request(files, "identical"), tmp_path / "new", Silent(), resume=True)
    assert not (tmp_path / "new").exists()


def test_a_missing_search_is_noticed_before_anything_is_read(files, tmp_path, monkeypatch, unread):
    monkeypatch.setattr("minixl.alignment.retrieval.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="^align.search: faiss is not installed; install it with: pip install faiss-cpu, or use "):
        align(request(files, **{"align.search": "faiss"}), tmp_path / "out", Silent())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fields", [
    {"source": ("en", "eng.vec")}, {"targets": {"es": "es.vec", "de": "eng.vec"}}, {"evaluations": {"es": "eng.vec"}},
    {"settings": SCHEMA.settings({"method": "dictionary"}), "dictionaries": {"es": "eng.vec"}}], ids=lambda fields: [*fields][-1])
def test_a_missing_file_is_noticed_before_anything_is_read(files, tmp_path, monkeypatch, unread, fields):
    monkeypatch.chdir(files)
    with pytest.raises(UserError, match="^eng.vec: expected a file, found nothing; did you mean en.vec"):
        align(changed(files, **fields), tmp_path / "out", Silent())
    (tmp_path / "eng.vec").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="^eng.vec: expected a file, found a directory"):
        align(request(files)._replace(source=("en", "eng.vec")), tmp_path / "out", Silent())
    assert not (tmp_path / "out").exists()


def test_the_folder_is_locked_while_it_is_written(files, tmp_path):
    """And not before everything has been read."""
    out, seen = tmp_path / "out", []

    @contextmanager
    def lock():
        seen.append(out.exists())
        yield
        seen.append((out / "metrics.json").is_file())

    align(request(files, "identical"), out, Silent(), lock=lock())
    assert seen == [False, True]


@pytest.mark.parametrize("read", [100, 1000])
def test_words_beyond_those_read_are_exported_too(files, tmp_path, monkeypatch, read):
    """The map is learnt from the first words; the others are normalised with their means, a block at a time."""
    monkeypatch.setattr("minixl.alignment.spaces.FEWEST", 10)
    monkeypatch.setattr(export, "BLOCK", 64)
    align(request(files, "identical", **{"align.top": read}), tmp_path, Silent())
    vectors = [load_file(tmp_path / f"{language}.safetensors")["vectors"] for language in ("en", "es")]
    assert len(vectors[0]) == len(vectors[1]) == WORDS and (vectors[0] * vectors[1]).sum(axis=1).min() > 0.8


@pytest.mark.parametrize("what, words", [("top", 600), ("none", 0)])
def test_what_is_exported_can_be_limited(files, tmp_path, monkeypatch, what, words):
    monkeypatch.setattr("minixl.alignment.spaces.FEWEST", 10)
    align(request(files, "identical", **{"align.top": 600, "align.export": what}), tmp_path, Silent())
    assert (tmp_path / "en.vec").exists() == bool(words)
    if words:
        assert len(read_vectors(tmp_path / "en.vec", strict=True)) == words


def changed(files, **fields):
    return request(files)._replace(**fields)


@pytest.mark.parametrize("fields, message", [
    ({"targets": {"en": "x"}}, "--target en: expected another language than --source en"),
    ({"evaluations": {"fr": "x"}}, "--evaluate fr: expected one of the target languages, es"),
    ({"dictionaries": {"es": "x"}}, "--dictionary: --method similarity reads no dictionary; give --method dictionary"),
    ({"settings": SCHEMA.settings({"method": "dictionary"})}, "--method dictionary: expected --dictionary es=FILE as well"),
    ({"targets": {"es": "x", "de": "y"}, "settings": SCHEMA.settings({"align.map": "source"})},
     "align.map=source: with several targets the shared space is the source's"),
])
def test_options_that_do_not_go_together(files, tmp_path, fields, message):
    with pytest.raises(UserError, match=f"^{message}"):
        align(changed(files, **fields), tmp_path / "out", Silent())
    assert not (tmp_path / "out").exists()


def test_bad_files_leave_no_folder(files, tmp_path):
    (tmp_path / "empty.txt").touch()
    for fields in ({"evaluations": {"es": str(tmp_path / "empty.txt")}}, {"source": ("en", str(tmp_path / "empty.txt"))}):
        with pytest.raises(UserError):
            align(changed(files, **fields), tmp_path / "out", Silent())
        assert not (tmp_path / "out").exists()


def test_the_suggested_method_is_another_one():
    assert all(method != other for method, other in module.OTHER.items())
