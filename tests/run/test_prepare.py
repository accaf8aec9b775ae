"""What stands between a user's settings and files and a run's: comparisons by name, how much target text is compared, who
holds the folder, where the states of frozen layers are kept."""
import json

import numpy as np
import pytest

import minixl.building.transformer
import minixl.run.job
from minixl.errors import UserError
from minixl.methods import resolve
from minixl.run.stage import make_streams
from tests.whole_runs import Quiet, advpicker, assert_same_run, inputs, prepared, records, run, settings, stopped, texts, write_data

TOKEN = {"method": "language-adversarial", "adversary__level": "token"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def test_the_ablation_ft_is_plain_fine_tuning():
    """Whatever terms the student was to have."""
    asked = advpicker(advpicker__variant="ft", adversary__level="token", linkage__level="sentence")
    found = resolve(asked)[1]
    changed = {name: found[name] for name in found if found[name] != asked[name]}
    assert changed == {"method": "finetune", "adversary.level": "none", "linkage.level": "none", "train.epochs": 1}
    assert dict(resolve(found)[1]) == dict(found)                        # as --resume reads it in config.toml


def test_without_an_adversary_the_adversarial_method_is_fine_tuning(folder, tmp_path):
    """The comparison of Keung's figure 2 is one --set."""
    without = settings(method="language-adversarial", adversary__level="none")
    metrics = run(folder, tmp_path / "without", without)
    assert metrics["method"] == "finetune" and {r["loss"] for r in records(tmp_path / "without") if "loss" in r} == {"task"}
    run(folder, tmp_path / "plain", settings())
    assert_same_run(tmp_path / "plain", tmp_path / "without")
    stopped(folder, tmp_path / "run", without, 2)
    run(folder, tmp_path / "run", without, resume=True)
    assert_same_run(tmp_path / "plain", tmp_path / "run")


def test_a_term_on_fine_tuning_stays():
    chosen = settings(adversary__level="token")
    assert dict(resolve(chosen)[1]) == dict(chosen)


def drawn(folder, seed, text, **changes):
    """Return language -> the sentences that the discriminator reads, and the prepared run."""
    files = inputs(folder, unlabelled=[("es", text), ("fr", folder / "fr.raw")])
    read, prepared = texts(settings(**TOKEN, **changes), files, seed)
    found, start = {}, 0
    for language, whole in prepared.unlabelled_targets.items():
        ours = {id(example): example.source for example in whole.encoded.examples}
        found[language] = sorted({ours[id(example)] for example in read["target"] if id(example) in ours})
        start += sum(id(example) in ours for example in read["target"])
    assert start == len(read["target"])
    return found, prepared, read["target"]


def test_as_much_target_text_as_source_text(folder, tmp_path):
    """12 source sentences and two languages: 6 of the 20 in Spanish, one of them in windows, and all 2 of the French."""
    text = tmp_path / "es.raw"
    text.write_text("anna visita madrid " * 40 + "\n" + "".join(f"anna vive en paris {i}\n" for i in range(19)))
    found, prepared, target = drawn(folder, 1, text)
    assert found == {"es": list(range(20)), "fr": [0, 1]}
    seen = set()
    for seed in range(1, 6):
        found, prepared, target = drawn(folder, seed, text, adversary__target_size="source")
        assert len(found["es"]) == 6 and found["fr"] == [0, 1]
        assert drawn(folder, seed, text, adversary__target_size="source")[0] == found          # by the seed alone
        targets = prepared.unlabelled_targets                                          # stage B has all
        assert {language: text.encoded.sources for language, text in targets.items()} == {"es": 20, "fr": 2}
        windows = sum(example.source == 0 for example in prepared.unlabelled_targets["es"].encoded.examples)
        assert windows > 1 and len(target) == 8 + (windows - 1) * (0 in found["es"])
        seen |= {tuple(found["es"])}
    assert len(seen) == 5 and any(0 in chosen for chosen in seen)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_another_process_finished_in_the_meantime_is_left_alone(folder, tmp_path, monkeypatch, resume):
    """The other process had the lock while this one read its files."""
    out, chosen = tmp_path / "run", settings(train__max_steps=2)
    if resume:
        stopped(folder, out, chosen, 1)
    real = minixl.run.job.prepare

    def slowly(*args):
        with monkeypatch.context() as patched:
            patched.setattr(minixl.run.job, "prepare", real)
            run(folder, out, chosen, resume=resume)
        (out / "mine").write_text("other")
        return real(*args)

    monkeypatch.setattr(minixl.run.job, "prepare", slowly)
    with pytest.raises(UserError, match="is finished, its scores" if resume else "the folder holds a finished run"):
        run(folder, out, chosen, resume=resume)
    assert (out / "mine").read_text() == "other" and json.loads((out / "metrics.json").read_text())["steps"] == 2


def test_texts_share_the_memory_for_frozen_states(folder, tmp_path, monkeypatch):
    """And the files beyond it lie in the run's own folder."""
    frozen = settings(**TOKEN, model__freeze=["bottom:1"], model__keep_frozen=True, model__keep_frozen_mb=1)
    examples, prepared = texts(frozen, inputs(folder))
    names = {"source": "labelled", "target": "target", "again": "target"}
    once = make_streams(names, examples, prepared.model, frozen, 1, tmp_path)
    sizes = {name: once[name].bottom.states.nbytes for name in names}
    assert once["target"].bottom is once["again"].bottom and not any(isinstance(s.bottom.states, np.memmap) for s in once.values())

    made, real = [], minixl.building.transformer.FrozenBottom

    def small(bert, examples, *, memory_bytes, folder):
        """A budget of MiB in bytes that hold the first text and all but one byte of the second."""
        made.append((1 << 20) - memory_bytes)
        return real(bert, examples, memory_bytes=memory_bytes - (1 << 20) + sum(sizes.values()) - sizes["again"] - 1, folder=folder)

    monkeypatch.setattr(minixl.building.transformer, "FrozenBottom", small)
    out = tmp_path / "out"
    out.mkdir()
    streams = make_streams(names, examples, prepared.model, frozen, 1, out)
    assert made == [0, sizes["source"]]                                # what the first took is not there for the second
    assert not isinstance(streams["source"].bottom.states, np.memmap) and isinstance(streams["target"].bottom.states, np.memmap)
    missing = tmp_path / "missing"
    with pytest.raises(UserError, match=f"cannot be created in {missing} "):
        make_streams(names, examples, prepared.model, frozen, 1, missing)


def lines(*tags):
    """A CoNLL file of one sentence a tag."""
    return "".join(f"word\t{tag}\n\n" for tag in tags)


@pytest.mark.parametrize(("limit", "source", "test", "said"), [
    (2, lines("B-PER", "O", "B-LOC"), lines("B-LOC"), r"^data.limit: 2 sentences of each source language are too few, all "
     r"would be enough: .*/new.txt:1: expected one of the tags .*, found 'B-LOC' for the word 'word'; raise data.limit, or draw "
     r"them from the whole text with --set data.sample=random$"),
    (1, lines("O", "B-PER"), lines("O"), "^data.limit: 1 sentences of each source language .* expected at least two different "
     "labels, found only O; raise data.limit, or draw them from the whole text .*$"),
    (2, lines("B-PER", "O", "O"), lines("B-LOC"), r"^.*/new.txt:1: expected one of the tags .*, found 'B-LOC'"),
    (0, lines("O", "O"), lines("O"), "at least two different labels, found only O; give more text, or check which column holds "
     "them$"),
])
def test_a_limit_that_leaves_labels_out_is_blamed(folder, tmp_path, limit, source, test, said):
    """Not the file with the label; but a label that no source sentence has is the fault of that file."""
    (tmp_path / "source.txt").write_text(source)
    (tmp_path / "new.txt").write_text(test)
    given = inputs(folder, source=[("en", tmp_path / "source.txt")], dev=[], unlabelled=[], test=[("es", tmp_path / "new.txt")])
    with pytest.raises(UserError, match=said):
        prepared(settings(data__limit=limit), given)


def test_a_dev_file_without_effect_is_reported(folder):
    files = [("en", folder / "en.txt"), ("ne", folder / "en.txt"), ("es", folder / "es.txt")]
    messages = prepared(settings(), inputs(folder, dev=files, test=[("es", folder / "es.txt")])).messages
    assert [message for message in messages if "--dev" in message] == [
        "warning: --dev ne has no effect: it is neither a source language (en) nor a test language"]


def test_files_without_entities(folder, tmp_path):
    """They are reported, and select neither a model nor the end of the training: the last parameters are kept."""
    (tmp_path / "none.txt").write_text("anna\tO\nben\tO\n\nparis\tO\n")
    none = [(language, tmp_path / "none.txt") for language in ("en", "es")]
    reporter, out = Quiet(), tmp_path / "run"
    metrics = run(folder, out, settings(train__max_steps=3, train__eval_every=1, train__patience=1), reporter=reporter,
                  inputs=inputs(folder, dev=none, test=none[:1]))
    assert (metrics["steps"], metrics["selected_step"], metrics["oracle"]) == (3, 3, {})
    said = f"={tmp_path}/none.txt: expected entities, found only the tag O: every F1 on this file is 0"
    assert [text for text in reporter.messages if said in text] == [
        f"warning: --dev en{said}, so it selects no model", f"warning: --dev es{said}, so it selects no model",
        f"warning: --test en{said}"]
    assert "warning: train.patience has no effect: early stopping needs a source dev file (--dev)" in reporter.messages
    assert not any("learned next to nothing" in text for text in reporter.messages)


def test_a_language_has_one_spelling(folder):
    with pytest.raises(UserError, match="^--dev EN=...: expected en as in --source, found EN; language names are case-sensitive$"):
        prepared(settings(), inputs(folder, dev=[("EN", folder / "en.txt")]))


def test_the_setting_that_needs_unlabelled_text_is_named(folder):
    for chosen, name in ((settings(linkage__level="sentence"), "linkage.level"),
                         (settings(adversary__level="sentence"), "adversary.level")):
        with pytest.raises(UserError, match=f"^--unlabelled: {name} reads unlabelled text, so it needs text in a language other"):
            prepared(chosen, inputs(folder, unlabelled=[]))
