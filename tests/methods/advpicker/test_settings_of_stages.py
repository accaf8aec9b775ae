"""Settings of AdvPicker's stages B to D that are not the defaults: each is obeyed, and written into what was made with it."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open

from minixl.building import load_model
from minixl.data.corpus import Corpus
from minixl.data.examples import Sentence
from minixl.evaluation.files import Evaluation
from minixl.methods import METHODS, resolve
from minixl.methods.advpicker import algorithm, files
from minixl.methods.advpicker.files import read_scored
from minixl.methods.advpicker.labels import Merged, Scored, best_labels, merge, score_sentences
from minixl.run.prepare import prepare
from tests.methods.advpicker.stored import read_pseudo_labels
from tests.whole_runs import advpicker, inputs, run

OTHER = advpicker(advpicker__merge="max_logit", adversary__specials=False, decode__constrained=False, advpicker__audit=True)
LABELS = ["O", "B-LOC", "I-LOC"]


@pytest.fixture(scope="module")
def out(folder, tmp_path_factory):
    """A run with OTHER, whose teachers say that every sentence begins inside an entity: no scheme allows that."""
    real = files.score_sentences

    def confused(model, *args, **how):
        scored = real(model, *args, **how)
        first = scored.starts[:-1]
        scored.probabilities[first] = 0
        scored.probabilities[first, model.labels.index("I-PER")] = 0.6
        scored.probabilities[first, model.labels.index("O")] = 0.4
        return scored

    made = tmp_path_factory.mktemp("other") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "score_sentences", confused)
        run(folder, made, OTHER)
    return made


def stored_scores(out, language: str) -> list[Scored]:
    return [read_scored(out / "pseudo-labels" / f"{language}.seed-{seed}.safetensors", None) for seed in (1, 2)]


def made_from(path) -> dict[str, str]:
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["minixl"])["made_from"]


def test_the_rule_of_the_merge(out):
    differ = 0
    for language in ("es", "fr"):
        scored, found = stored_scores(out, language), read_pseudo_labels(out / "pseudo-labels" / f"{language}.safetensors").merged
        for array, expected in zip(found, merge(scored, "max_logit"), strict=True):
            np.testing.assert_array_equal(array, expected)
        differ += (found.teacher != merge(scored, "max_probability").teacher).sum()
    assert differ, "the test says nothing where both rules choose the same teachers"


@pytest.mark.parametrize(("rule", "chosen"), [("max_probability", 0), ("max_logit", 1)])
def test_the_rule_of_the_merge_of_test_files(monkeypatch, rule, chosen):
    sure, loud = (Scored(np.array([[p, 0.0, 1 - p]]), np.array([0, 1]), np.array([p]), np.array([logit]))
                  for p, logit in ((0.9, 1.0), (0.6, 2.0)))
    texts = SimpleNamespace(texts={"es": None}, score=lambda languages: None, read=lambda language: [sure, loud])
    settings = advpicker(advpicker__merge=rule, advpicker__variant="without-kd")
    merged = {}
    monkeypatch.setattr(algorithm, "ScoredTexts", lambda *args: texts)
    monkeypatch.setattr(algorithm, "make_teachers", lambda *args: {})
    monkeypatch.setattr(algorithm, "common_labels", lambda teachers: LABELS)
    monkeypatch.setattr(algorithm, "_tag_tests", lambda job, tests, names: merged.update(tests) or {})
    prepared = SimpleNamespace(unlabelled_targets={}, evaluation=SimpleNamespace(files={"test": {}}))
    METHODS["advpicker"].run(SimpleNamespace(settings=settings, prepared=prepared))
    assert merged["es"].teacher.tolist() == [chosen]


def test_special_pieces_take_no_part_in_the_language(folder, out):
    method, settings, _ = resolve(OTHER)
    prepared = prepare(method, settings, inputs(folder), 3)
    for number, scored in enumerate(stored_scores(out, "es")):
        model, _, _ = load_model(out / "teachers" / f"seed-{number + 1}" / "model")
        encoded = prepared.unlabelled_targets["es"].encoded
        without, whole = (score_sentences(model, encoded, specials=specials) for specials in (False, True))
        np.testing.assert_array_equal(scored.p_bar, without.p_bar)
        assert (scored.p_bar != whole.p_bar).all()


def test_tags_that_no_scheme_allows_are_written_as_they_are(out):
    labels = read_pseudo_labels(out / "pseudo-labels" / "es.safetensors")
    lines = (out / "pseudo-labels" / "es.conll").read_text(encoding="utf-8").splitlines()
    first = [after.split("\t") for before, after in zip(lines, lines[1:], strict=False) if before.startswith("# sentence ")]
    assert len(first) == labels.selected.sum() == 3
    assert all((float(probability), tag) == (0.6, "I-PER") for _, probability, tag in first)
    allowed = best_labels(labels.merged, labels.labels, "IOB2")[labels.merged.starts[:-1]]
    assert {labels.labels[i] for i in allowed} == {"O"}


@pytest.mark.parametrize(("constrained", "f1"), [(False, 1.0), (True, 0.0)])
def test_teachers_tag_test_files_as_decoding_is_set(tmp_path, constrained, f1):
    """I-LOC is most probable; what the scheme allows is O."""
    settings = advpicker(advpicker__variant="without-kd", decode__constrained=constrained)
    evaluation = Evaluation("ner", "IOB2", settings, ["en"])
    corpus = Corpus("es", tmp_path / "es.txt", "ner", [Sentence(("madrid",), ("B-LOC",), 1)])
    evaluation.add("test", corpus, None)
    merged = Merged(np.array([[0.4, 0.1, 0.5]]), np.array([0, 1]), np.array([0.5]), np.array([0]))
    job = SimpleNamespace(settings=settings, prepared=SimpleNamespace(evaluation=evaluation))
    assert algorithm._tag_tests(job, {"es": merged}, LABELS)["es"]["f1"] == f1


def test_files_name_all_that_they_were_made_from(out):
    """What of it changes has the file made anew: text, teachers, settings, limits."""
    scoring = {"data.max_length", "data.on_long", "data.encoding", "adversary.specials"}
    teachers = {"teacher seed-1", "teacher seed-2"}
    for name, text, of, settings in (
            ("es.safetensors", "unlabelled es", teachers, scoring | {"data.unlabelled_limit", "advpicker.merge", "advpicker.rho"}),
            ("fr.safetensors", "unlabelled fr", teachers, scoring | {"data.unlabelled_limit", "advpicker.merge", "advpicker.rho"}),
            ("es.seed-1.safetensors", "unlabelled es", {"teacher seed-1"}, scoring | {"data.unlabelled_limit"}),
            ("es.seed-2.safetensors", "unlabelled es", {"teacher seed-2"}, scoring | {"data.unlabelled_limit"}),
            ("test/en.seed-2.safetensors", "test en", {"teacher seed-2"}, scoring | {"data.test_limit"})):
        found = made_from(out / "pseudo-labels" / name)
        assert set(found) == {text} | of | {f"setting {setting}" for setting in settings}, name
        assert found["setting adversary.specials"] == "false"
        assert found.get("setting advpicker.merge") == ('"max_logit"' if "advpicker.merge" in settings else None)
