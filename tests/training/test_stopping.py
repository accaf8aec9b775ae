"""What ends a run before its last step: patience with each of its signs, minutes, resuming, and what cannot work."""
from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from minixl.errors import UserError
from minixl.methods import LOSSES, METHODS, SCHEMA
from minixl.run.prepare import check_dev_files
from minixl.training.progress import Stopped
from minixl.training.stopping import Patience
from minixl.training.update import Update
from tests.mutants import mutant
from tests.whole_runs import Quiet, advpicker, assert_same_run, inputs, records, run, settings, stopped, write_data

ADVERSARIAL = {"method": "language-adversarial", "adversary__level": "sentence"}
SIGNS = ("source-dev", "target-dev", "loss", "discriminator")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def updates(loss: float, accuracy: float | None) -> list[Update]:
    """What an iteration did."""
    made = [Update(0, "task", loss, 1.0, 1.0, 1)]
    if accuracy is not None:
        made += [Update(0, kind, 9.0, 1.0, 1.0, 1, told) for kind, told in (("discriminator", accuracy), ("generator", 0.0))]
    return made


def dev(en: float, de: float, es: float, fr: float) -> dict:
    return {language: {"f1": value} for language, value in (("en", en), ("de", de), ("es", es), ("fr", fr))}


# two iterations and the dev scores of six evaluations; whether each sign makes progress, in the order of SIGNS
EVALUATIONS = [
    ([updates(4.0, 1.0), updates(2.0, 0.8)], dev(0.5, 0.5, 0.2, 0.2), (1, 1, 1, 1)),      # loss 3, accuracy .9
    ([updates(2.0, 0.2), updates(3.0, 0.0)], dev(0.6, 0.4, 0.3, 0.2), (0, 1, 1, 0)),      # 2.5, .1: .4 from chance as well
    ([updates(1.0, 0.9), updates(5.0, 0.8)], dev(0.7, 0.5, 0.1, 0.1), (1, 0, 0, 1)),      # 3, .85
    ([updates(1.0, 0.0), updates(2.0, 1.0)], dev(0.1, 0.1, 0.3, 0.3), (0, 1, 1, 1)),      # 1.5, .5
    ([updates(1.5, None), updates(1.5, None)], dev(0.1, 0.1, 0.0, 0.0), (0, 0, 0, None)),  # no update of the discriminator
    ([updates(1.6, 0.5), updates(1.5, 0.5)], dev(0.2, 0.2, 0.0, 0.0), (0, 0, 0, 0))]


def follow(module, sign: str) -> list[int | None]:
    """1 for progress, 0 for none, None where nothing was counted."""
    made = module.Patience(SCHEMA.settings({"train.stop_on": sign}), ["en", "de"], LOSSES)
    found: list[int | None] = []
    for iterations, scores, _ in EVALUATIONS:
        for iteration in iterations:
            made.note(iteration)
        before, made.best_before = made.without_progress, made.best
        assert made.evaluated(scores) is None, "train.patience=0 never ends a run"
        counted = made.without_progress > before
        found.append(0 if counted else 1 if made.best != made.best_before else None)
    return found


@pytest.mark.parametrize("sign", SIGNS)
def test_what_counts_as_progress(sign):
    from minixl.training import stopping
    assert follow(stopping, sign) == [progress[SIGNS.index(sign)] for _, _, progress in EVALUATIONS]


MISTAKES = [
    ("equal is progress", "value > self.best:", "value >= self.best:"),
    ("higher losses are better", "else -mean", "else mean"),
    ("distance without its sign", "-abs(accuracy - chance)", "accuracy - chance"),
    ("a far discriminator is better", "-abs(accuracy - chance)", "abs(accuracy - chance)"),
    ("means over the whole run", "self.values, self.accuracies = {}, {}\n        if value", "if value"),
    ("the generator's accuracy as well", "_add(self.accuracies, update.loss,", "_add(self.accuracies, self.watched,"),
    ("every loss", "_add(self.values, update.loss,", "_add(self.values, TASK,"),
    ("source and target exchanged", "== (self.watched == \"source-dev\")", "!= (self.watched == \"source-dev\")"),
    ("the last language alone", "sum(scores) / len(scores) if", "scores[-1] if"),
    ("nothing to watch is no progress", "return None\n        if self.best is None", "value = -9.0\n        if self.best is None"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(what, old, new):
    changed = mutant("minixl.training.stopping", old, new)
    assert any(follow(changed, sign) != [progress[SIGNS.index(sign)] for _, _, progress in EVALUATIONS] for sign in SIGNS), what


@pytest.mark.parametrize(("sign", "said"), [
    ("source-dev", "no better source dev f1 in 2 evaluations"), ("loss", "no lower loss of the task in 2 evaluations"),
    ("target-dev", "no better target dev f1 (of target labels) in 2 evaluations"),
    ("discriminator", "the discriminator came no nearer to chance in 2 evaluations")])
def test_patience_ends_a_run_and_says_why(sign, said):
    patience = Patience(SCHEMA.settings({"train.stop_on": sign, "train.patience": 2}), ["en"], LOSSES)
    found = []
    for _ in range(3):
        patience.note(updates(1.0, 0.7))
        found.append(patience.evaluated(dev(0.5, 0.5, 0.5, 0.5)))
    assert found == [None, None, said]


def test_progress_starts_the_count_again():
    patience = Patience(SCHEMA.settings({"train.patience": 2}), ["en"], LOSSES)
    reasons = [patience.evaluated({"en": {"f1": value}}) for value in (0.5, 0.4, 0.6, 0.6, 0.7, 0.1, 0.2)]
    assert [reason is not None for reason in reasons] == [False] * 6 + [True]


def test_the_state_continues_in_the_middle_of_an_evaluation():
    states = []
    for again in (False, True):
        patience = Patience(SCHEMA.settings({"train.stop_on": "loss", "train.patience": 2}), ["en"], LOSSES)
        patience.note(updates(0.1, 0.7))
        patience.evaluated({})
        patience.note(updates(0.7, 0.3))
        if again:
            state = json.loads(json.dumps(patience.state_dict()))
            patience = Patience(SCHEMA.settings({"train.stop_on": "loss", "train.patience": 2}), ["en"], LOSSES)
            patience.load_state_dict(state)
        patience.note(updates(0.3, None))
        states.append((patience.values["task"][0] / patience.values["task"][1], patience.mean_accuracy("discriminator"),
                       patience.evaluated({}), patience.state_dict()))
    assert states[0] == states[1] and states[0][0] == 0.5


def check(changes: dict, dev: list[str]) -> None:
    """check_stopping of these settings and dev files; English is the source."""
    chosen = SCHEMA.settings(changes)
    evaluation = SimpleNamespace(files={"dev": dev, "test": dev}, sources=["en"], without_entities={"dev": [], "test": []})
    check_dev_files(METHODS[chosen["method"]], chosen, evaluation)


@pytest.mark.parametrize(("changes", "languages", "said"), [
    ({"train.stop_on": "target-dev"}, ["en"], r"^train.stop_on: target-dev expected a dev file of a target language \(--dev; its "
     r"labels are used\), found only en; give one, or --set train.stop_on=source-dev$"),
    ({"train.stop_on": "target-dev"}, [], "found no dev file; give one"),
    ({"train.stop_on": "discriminator"}, ["en", "es"], "^train.stop_on: discriminator expected a method that has one, found "
     "finetune with adversary.level=none; --set adversary.level=sentence, or --set train.stop_on=source-dev$")])
def test_what_cannot_work(changes, languages, said):
    with pytest.raises(UserError, match=said):
        check({"train.patience": 1, **changes}, languages)
    check(changes, languages)                                                     # train.patience=0: nothing is watched
    check({"train.patience": 1, **changes, "adversary.level": "token"}, [*languages, "es"])
    check({"train.patience": 1, "train.stop_on": "discriminator", "method": "advpicker"}, [])


STILL = {"optim__lr": 0.0, "optim__head_lr": 1e-12, "adversary__lr": 0.0, "adversary__discriminator_lr": 0.0, "model__dropout": 0.0,
         "train__epochs": 50, "train__eval_every": 3, "train__patience": 2}    # nothing moves: each batch has its loss and accuracy


@pytest.mark.parametrize("sign", SIGNS)
def test_a_run_ends_by_each_sign(folder, tmp_path, sign):
    """The same log as what Patience says of it; the model is selected on source dev all the same."""
    reporter = Quiet()
    metrics = run(folder, tmp_path / "run", settings(**ADVERSARIAL, **STILL, train__stop_on=sign), reporter=reporter)
    log = records(tmp_path / "run")
    patience, reasons, last = Patience(settings(train__patience=2, train__stop_on=sign), ["en"], LOSSES), [], 0
    for record in log:
        if record["kind"] == "update":
            patience.note([SimpleNamespace(**record)])
        else:
            reasons.append(patience.evaluated(record["dev"]))
            last = record["step"]
    assert reasons[-1] and not any(reasons[:-1]) and last == metrics["steps"] < 150
    assert [m for m in reporter.messages if m.startswith("stopping")] == [f"stopping: {reasons[-1]}"]
    assert metrics["selected_step"] == 3, "the first of equals on source dev"


@pytest.mark.parametrize("sign", ["loss", "discriminator"])
@pytest.mark.parametrize("count", [4, 6])
def test_resume_is_bit_equal(folder, tmp_path, sign, count):
    """Stopped between two evaluations, and at one."""
    chosen = settings(**ADVERSARIAL, train__stop_on=sign, train__patience=1, train__epochs=6)
    run(folder, tmp_path / "whole", chosen)
    stopped(folder, tmp_path / "parts", chosen, count)
    run(folder, tmp_path / "parts", chosen, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_student_without_a_discriminator_says_that_there_is_none(folder, tmp_path):
    """Of AdvPicker the teachers have one, so it is no mistake to ask for it."""
    reporter = Quiet()
    run(folder, tmp_path / "run", advpicker(train__stop_on="discriminator", train__patience=9), reporter=reporter)
    message = "warning: train.patience has no effect: this stage has no discriminator, which train.stop_on watches"
    assert reporter.messages.count(message) == 1


def test_minutes_end_a_run_as_its_last_step_does(folder, tmp_path, monkeypatch):
    """A clock that shows a second more at every look: each step takes one.  0.1 minutes are 6 steps."""
    clock = iter(range(10 ** 6))
    monkeypatch.setattr("minixl.training.loop.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    chosen, reporter = settings(train__epochs=9, train__eval_every=4, train__max_minutes=0.1), Quiet()
    with pytest.raises(Stopped):
        run(folder, tmp_path / "run", chosen, stop=lambda: len(records(tmp_path / "run")) >= 2)
    metrics = run(folder, tmp_path / "run", chosen, reporter=reporter, resume=True)
    assert (metrics["steps"], metrics["seconds"]) == (6, 6.0), "the seconds before --resume count"
    assert [r["step"] for r in records(tmp_path / "run") if r["kind"] == "evaluation"] == [4, 6]
    assert "stopping: 0.1 minutes of training have passed (train.max_minutes)" in reporter.messages
    whole = run(folder, tmp_path / "whole", settings(train__max_steps=6, train__max_minutes=0.1))
    assert whole["steps"] == 6 and whole["test"], "a run that was at its last step anyway"


def test_a_target_dev_file_is_missing(folder, tmp_path):
    with pytest.raises(UserError, match="^train.stop_on: target-dev expected a dev file"):
        run(folder, tmp_path / "run", settings(train__stop_on="target-dev", train__patience=1),
            inputs=inputs(folder, dev=[("en", folder / "en.txt")]))
