"""Whole runs of MLMA: the stages, a language model alone and its use, resume to the same bits, seeds, vectors, report, mistakes."""
from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import minixl
from minixl.building.language_model import load_language_model
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.study.replay import run_at
from tests.methods.mlma.ambiguous import write_ambiguous
from tests.methods.mlma.small import FILES, LINES, inputs, run, settings
from tests.whole_runs import Quiet, assert_same_run, records, stopped


def test_a_language_model_then_a_tagger_on_it(data, finished):
    out, metrics = finished
    stage = out / "language-model"
    logged = records(stage)
    evaluations = [record for record in logged if record["kind"] == "evaluation"]
    assert [record["step"] for record in evaluations] == [3, 6, 7]
    assert all(set(record["perplexity"]) == {"en", "es"} and set(record["perplexity"]["en"]) == {"forward", "backward"}
               for record in evaluations)
    updates = [record for record in logged if record["kind"] == "update"]
    assert [record["loss"] for record in updates] == ["task", "average-linkage"] * 7
    model, lexicon = load_language_model(stage / "model")
    assert lexicon.words_of("en")[:2] == (".", "visited") or lexicon.words_of("en")[0] in (".", "visited", "the", "ben")
    assert model.config.vocabulary_sizes["es"] == 2 + len({word for line in LINES["es"] for word in line.lower().split()})
    after, before = load_file(out / "model" / "model.safetensors"), load_file(stage / "model" / "model.safetensors")
    for name, value in before.items():
        np.testing.assert_array_equal(after[f"language_model.{name}"], value)
    assert json.loads((stage / "metrics.json").read_text())["perplexity"] == evaluations[-1]["perplexity"]
    assert set(metrics["test"]) == {"en", "es"} and "perplexity" not in metrics
    assert not (stage / "text").exists() and not (stage / "checkpoint").exists()
    rates = [record["lr"] for record in records(out) if record["kind"] == "update"]
    assert rates == pytest.approx([0.02] * 5 + [0.02 * 0.9] * 5)       # 18 sentences, batches of 4, two epochs


def test_the_report_shows_perplexity_layers_and_neighbours(finished):
    out, _ = finished
    page, stage = (out / "report.html").read_text(), (out / "language-model" / "report.html").read_text()
    for heading in ("Perplexity of the language model", "Loss of the language model", "Weights of the layers"):
        assert f"<h2>{heading}</h2>" in page
    assert "Alignment terms of the language model" in page and "<h2>Perplexity of the language model</h2>" in stage
    content = json.loads((out / "representations.json").read_text())
    assert content["history"] == "language-model" and set(content["layers"]) == {"en", "es"}
    assert all(len(shares) == 3 and sum(shares) == pytest.approx(1, abs=1e-3) for shares in content["layers"].values())


def test_neighbours_are_those_with_the_highest_cosine(data, tmp_path):
    """Words that occur with different tags; each language has its nearest word."""
    files = write_ambiguous(tmp_path)
    out = tmp_path / "run"
    run(data, out, inputs=Inputs(None, **{**{role: pairs for role, pairs in vars(inputs(data)).items() if role != "encoder"},
                                          "source": [("en", files)], "dev": [("en", files)],
                                          "test": [("en", files), ("es", data / "es.txt")]}))
    rows = json.loads((out / "representations.json").read_text())["neighbours"]
    assert [row["word"]["word"].lower() for row in rows] == ["brown", "brown"]
    assert {row["word"]["tag"] for row in rows} == {"O", "B-PER"}
    predictor = minixl.load(out / "model", device="cpu")

    def vectors(language, words):
        from minixl.data.batching import pack
        from minixl.data.encoding import encode_sentences
        from minixl.data.examples import Sentence
        tokenizer = predictor.tokenizer.for_language(language)
        encoded = encode_sentences([Sentence(tuple(words), None, 1)], tokenizer, None, max_length=99)
        return predictor.model.represent(pack(encoded.examples))

    brown = vectors("en", ["a", "brown", "coat"])[1]
    spanish = [line.split() for line in ("anna visita madrid .", "ben vive en paris .", "paris .")]
    cosines = {f"{' '.join(words)} {i}": float(row @ brown / np.linalg.norm(row) / np.linalg.norm(brown))
               for words in spanish for i, row in enumerate(vectors("es", words))}
    found = next(row for row in rows if row["word"]["tag"] == "O")["neighbours"]["es"]
    assert found["cosine"] == pytest.approx(max(cosines.values()), abs=2e-3)
    text, _, place = max(cosines, key=lambda key: cosines[key]).rpartition(" ")
    assert found["word"] == text.split()[int(place)]


@pytest.mark.parametrize("stage", ["language-model", ""])
def test_a_step_is_replayed_for_study(finished, stage):
    """From the beginning, with the bits of the run; its folder stays as it is."""
    out, _ = finished
    logged = [record for record in records(out / stage) if record["kind"] == "update" and record["step"] == 4]
    before = sorted(path.name for path in (out / stage).iterdir())
    with run_at(out, 4, stage, reporter=Quiet()) as start:
        updates = start.objective.step(start.step)
    assert [update.value for update in updates] == [record["value"] for record in logged]
    assert sorted(path.name for path in (out / stage).iterdir()) == before


def test_stopped_between_and_inside_stages(data, tmp_path):
    reporter, chosen = Quiet(), settings(train__checkpoint_every=2)
    run(data, tmp_path / "once", chosen, reporter=reporter)
    assert reporter.steps == 7 + 10
    for count in (1, 4, 7, 8, 12):
        out = tmp_path / f"twice-{count}"
        stopped(data, out, chosen, count, inputs=inputs(data))
        run(data, out, chosen, resume=True)
        for part in ("language-model", "."):
            assert_same_run(tmp_path / "once" / part, out / part)
        assert (tmp_path / "once" / "representations.json").read_text() == (out / "representations.json").read_text()


def test_a_corpus_that_changed_since_the_stop(data, tmp_path):
    text = tmp_path / "en.raw"
    text.write_text((data / "en.raw").read_text())
    changed = inputs(data)
    changed.unlabelled[0] = ("en", text)
    stopped(data, tmp_path / "run", settings(), 4, inputs=changed)
    text.write_text((data / "en.raw").read_text() + "one more line .\n")
    with pytest.raises(UserError, match=f"^--resume: {text} has changed since the run began; put the old one back"):
        run(data, tmp_path / "run", resume=True, inputs=changed)


def test_a_language_model_alone_and_taggers_on_it(data, finished, tmp_path):
    """Without labelled text a run is the language model; a tagger on it is that of one run with both, with the same seed."""
    out, _ = finished
    metrics = run(data, tmp_path / "lm", seed=1, inputs=inputs(data, source={}, dev={}, test={}))
    assert_same_run(tmp_path / "lm", out / "language-model")
    assert set(metrics["perplexity"]) == {"en", "es"} and metrics["test"] == {}
    run(data, tmp_path / "tagger", inputs=inputs(data, tmp_path / "lm" / "model"))
    assert_same_run(tmp_path / "tagger", out)
    assert json.loads((tmp_path / "tagger" / "representations.json").read_text())["history"] == "../lm"
    pos = settings(task="pos", model__chars=False, model__layer_sum="fully-weighted", train__epochs=1)
    with pytest.raises(UserError, match="^--unlabelled: the language model of --encoder .* is trained already"):
        run(data, tmp_path / "both", pos, inputs=inputs(data, tmp_path / "lm" / "model", unlabelled={"en": "en.raw"}))


def test_seeds_share_the_language_model(data, tmp_path):
    out = tmp_path / "seeds"
    metrics = run(data, out, settings(train__epochs=1), seeds=range(1, 3))
    assert sorted(path.name for path in out.iterdir()) == ["language-model", "metrics.json", "seed-1", "seed-2"]
    one, two = (load_file(out / f"seed-{seed}" / "model" / "model.safetensors") for seed in (1, 2))
    same = {name for name in one if np.array_equal(one[name], two[name])}
    assert {name for name in one if name.startswith("language_model.")} <= same and "classifier.weight" not in same
    assert len(metrics["test"]["es"]["f1"]["runs"]) == 2 and "Weights of the layers" in (out / "seed-2" / "report.html").read_text()


def test_aligned_vectors_are_the_first_word_vectors(data, tmp_path):
    """Frozen for all steps: the tables keep the file's vectors, scaled to a mean length of 1, and random ones for other words."""
    reporter = Quiet()
    files = inputs(data, source={}, dev={}, test={}, vectors={"en": "en.vec", "es": "es.vec"})
    run(data, tmp_path / "run", settings(language_model__frozen_steps=9), inputs=files, reporter=reporter)
    model, lexicon = load_language_model(tmp_path / "run" / "model")
    given = {}
    for language in ("en", "es"):
        lines = [line.split(" ") for line in (data / f"{language}.vec").read_text().splitlines()[1:]]
        given[language] = {line[0]: np.array(line[1:], float) for line in lines}
    length = np.mean([np.linalg.norm(vector) for of in given.values() for vector in of.values()])
    for language, of in given.items():
        words = lexicon.words_of(language)
        assert len(of) == len(words) - 1
        for i, word in enumerate(words):
            if word in of:
                np.testing.assert_allclose(model.table(language)[2 + i], of[word] / length, rtol=1e-5)
    assert any("vectors for" in line and "of the" in line for line in reporter.messages)


@pytest.mark.parametrize("changes", [
    {"mlma__average_linkage": 0.0}, {"mlma__average_linkage": 0.0, "mlma__identical_strings": 100.0},
    {"mlma__average_linkage": 0.0, "mlma__mean": 0.1, "mlma__deviation": 0.01}, {"mlma__layer_weights": ["1", "0", "2"]},
    {"mlma__directions": "together"}, {"language_model__tokenised": True}, {"language_model__vocabulary": 5},
    {"model__layer_sum": "fully-weighted"}, {"perturbation__kind": "adversarial"}, {"model__states_mb": 0},
    {"data__unlabelled_limit": 9}, {"language_model__max_minutes": 1e-9}], ids=str)
def test_variants_run(data, tmp_path, changes):
    metrics = run(data, tmp_path / "run", settings(train__epochs=1, language_model__steps=3, **changes))
    assert metrics["steps"] == 5 and set(metrics["oracle"]) == {"es"}
    steps = json.loads((tmp_path / "run" / "language-model" / "metrics.json").read_text())["steps"]
    assert steps == (1 if "language_model__max_minutes" in changes else 3)


def test_several_sources(data, tmp_path):
    metrics = run(data, tmp_path / "run", inputs=inputs(data, source={"en": "en.txt", "es": "es.txt"}))
    assert metrics["steps"] == 2 * 7 and metrics["oracle"] == {}       # 27 sentences


def test_the_model_folder_reads_every_language_and_guesses_it(finished):
    out, _ = finished
    predictor = minixl.load(out / "model", device="cpu")
    sentence = [["anna", "visita", "madrid", "."]]
    tagged = {language: predictor.for_language(language).tag(sentence)[0].confidences for language in ("en", "es", "")}
    np.testing.assert_array_equal(tagged["es"], tagged[""])
    assert not np.allclose(tagged["en"], tagged["es"])
    with pytest.raises(UserError, match="^language fr: expected one of en, es, which the language model has read"):
        predictor.for_language("fr")
    with pytest.raises(UserError, match="expected a tagger or a classifier, found a language model; `minixl states`"):
        minixl.load(out / "language-model" / "model", device="cpu")


MISTAKES = {
    "no text": ({}, {"unlabelled": {}}, "^--source en=.*: expected a language of which .* reads raw text, found none"),
    "a language without text": ({}, {"unlabelled": {"en": "en.raw"}},
                                "^--dev es=.*: expected a language of which .*, found en; add --unlabelled es=FILE$"),
    "no usable line": ({"language_model__longest": 2}, {},
                       "^--unlabelled es=.*es.raw.gz: expected lines of 2 to 2 words, found none"),
    "nothing at all": ({}, {role: {} for role in FILES}, "^--unlabelled: expected raw text of every language"),
    "lengths": ({"language_model__longest": 2, "language_model__shortest": 3}, {},
                "^language_model.longest: expected at least language_model.shortest=3, found 2$"),
    "heads": ({"language_model__heads": 3}, {},
              "^language_model.hidden: expected an even multiple of language_model.heads=3, found 8"),
    "a random part": ({"data__unlabelled_limit": 5, "data__sample": "random"}, {}, "^data.sample: expected first, since the lang"),
    "weights of layers": ({"mlma__layer_weights": ["1", "x"]}, {},
                          "^mlma.layer_weights: expected 3 numbers, 0 or more .*found 1, x$"),
    "another model": ({"model__type": "bilstm-crf"}, {}, "^model.type: expected mlma-tagger, which method mlma trains, found bil"),
    "another method": ({"method": "finetune"}, {}, "^--encoder: expected the folder of a language model"),
    "a classifier": ({"task": "classification"}, {}, "^model.type: an mlma-tagger tags words"),
    "vectors of one language": ({}, {"vectors": {"en": "en.vec"}}, "^--vectors: expected one file for each language .*found en; "
                                "--vectors es=FILE is missing$"),
    "vectors of another size": ({"language_model__hidden": 16}, {"vectors": {"en": "en.vec", "es": "es.vec"}},
                                "^--vectors en=.*: expected vectors of 16 numbers, language_model.hidden, found 8"),
    "an adversary": ({"adversary__level": "token"}, {}, "^adversary.level: expected a transformer, found a mlma-tagger"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(data, tmp_path, name):
    """One line; what can be known before the language model is trained leaves no folder."""
    changes, roles, message = MISTAKES[name]
    with pytest.raises(UserError, match=message) as error:
        run(data, tmp_path / "run", settings(**changes), inputs=inputs(data, **roles))
    assert "\n" not in str(error.value) and not (tmp_path / "run" / "model").exists()


def test_one_word_and_no_shared_word(data, tmp_path):
    for name, text, changes, message in (
            ("one.raw", "no no no\nNo no\n", {}, "expected at least 2 different words, found only 'no'; give real text$"),
            ("far.raw", "alpha beta\ngamma delta\n", {"mlma__identical_strings": 1.0},
             "^mlma.identical_strings: expected words that en and es share, found none")):
        (tmp_path / name).write_text(text)
        files = inputs(data, source={}, dev={}, test={})
        files.unlabelled[1] = ("es", tmp_path / name)
        with pytest.raises(UserError, match=message):
            run(data, tmp_path / "run", settings(**changes), inputs=files)
        assert not (tmp_path / "run").exists()
