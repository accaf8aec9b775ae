"""A step that is recorded in the middle of a run leaves what the run's own next step leaves, bit by bit."""
import numpy as np
import pytest
from safetensors.numpy import load_file

from minixl.errors import UserError
from minixl.study.recorder import record
from minixl.study.replay import run_at
from tests.methods.zero_resource import test_runs as zero_resource
from tests.tiny import write_vectors
from tests.whole_runs import STUDENT_STEPS, TEACHER_STEPS, Quiet, advpicker, inputs, run, settings, stopped, write_data

STEPS = {"train__max_steps": 5, "train__eval_every": 2, "train__checkpoint_every": 1}
CASES = {"finetune": {}, "language-adversarial": {"method": "language-adversarial", "adversary__level": "token"},
         "linkage": {"linkage__level": "sentence"}, "bilstm-crf": {"model__type": "bilstm-crf"},
         "kept states": {"model__freeze": "bottom:1", "model__keep_frozen": True},
         "classification": {"task": "classification", "train__batch_size": 2}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def files_of(out):
    """The content of every file of a run."""
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def state(out, step):
    """Parameters and moments of the checkpoint after `step` steps."""
    return load_file(out / "checkpoint" / f"state-{step}.safetensors")


def assert_left(objective, expected):
    """The objective's parameters and moments are those of a checkpoint."""
    left = {f"parameter/{parameter.name}": parameter.value for parameter in objective.model.store if parameter.trainable}
    left |= {f"optimizer/{loss}/{key}": value for loss, optimizer in objective.optimizers.items()
             for key, value in optimizer.state_dict().items()}
    assert left.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(left[name], value, err_msg=name)


def given(folder, chosen):
    """The inputs of a run; a bilstm-crf has no encoder."""
    files = inputs(folder, chosen["task"])
    if chosen["model.type"] == "bilstm-crf":
        files.encoder = None
    return files


@pytest.mark.parametrize("case", CASES)
def test_the_recorded_step_is_the_runs_own(folder, tmp_path, case):
    out, chosen = tmp_path / "run", settings(**{**STEPS, **CASES[case]})
    files = given(folder, chosen)
    stopped(folder, out, chosen, 2, inputs=files)
    before = files_of(out)
    with run_at(out, reporter=Quiet()) as start:                       # from the checkpoint
        assert (start.step, start.total_steps) == (2, 5)
        recording = record(start.objective, start.step)
        assert files_of(out) == before, "the run was written to"
    with run_at(out, 1, reporter=Quiet()) as earlier:                  # from the beginning
        record(earlier.objective, 1)
        assert_left(earlier.objective, state(out, 2))
    with pytest.raises(AssertionError):
        assert_left(start.objective, state(out, 2))
    stopped(folder, out, chosen, 1, inputs=files, resume=True)
    assert_left(start.objective, state(out, 3))
    assert recording.step == 2 and recording.events


def test_the_student_of_advpicker_in_the_middle(folder, tmp_path):
    out, teachers = tmp_path / "run", 2 * TEACHER_STEPS
    stopped(folder, out, advpicker(train__checkpoint_every=1), teachers + 2)
    before = files_of(out)
    with run_at(out, reporter=Quiet()) as start:
        assert (start.step, start.total_steps) == (2, STUDENT_STEPS)
        recording = record(start.objective, 2)
    assert files_of(out) == before
    stopped(folder, out, advpicker(train__checkpoint_every=1), 1, resume=True)
    assert_left(start.objective, state(out, 3))
    assert "soft_squared_error" in {call.op for call in recording.calls()}


@pytest.mark.parametrize("made", [2, 3, 4])
def test_zero_resource_inside_a_round_and_at_its_beginning(folder, tmp_path, made):
    """A round has three steps; its labels are made in a copy, and those of the run are read."""
    rng, vectors = np.random.default_rng(5), tmp_path / "all.vec"
    write_vectors(vectors, {word: rng.normal(size=7).round(3).tolist() for word in zero_resource.WORDS})
    files = inputs(folder, unlabelled=[("es", folder / "es.txt")], vectors=[("en", vectors)])
    files.encoder = None
    out, chosen = tmp_path / "run", zero_resource.settings(train__checkpoint_every=1, zero_resource__source_epochs=1)
    source_steps = 3                                                   # 12 sentences in batches of 4
    stopped(folder, out, chosen, source_steps + made, inputs=files)
    before = files_of(out)
    with run_at(out, reporter=Quiet()) as start:
        assert start.step == made
        recording = record(start.objective, made)
    assert files_of(out) == before
    stopped(folder, out, chosen, 1, inputs=files, resume=True)
    assert_left(start.objective, state(out, made + 1))
    assert [update.loss for update in recording.update_records()] == ["task", "target"]


def test_a_stage_and_a_finished_run(folder, tmp_path):
    """A round of self-learning by its name; without a checkpoint the replay begins at step 0."""
    chosen = settings(method="self-learning", train__max_steps=3, self_learning__rounds=1, self_learning__count=1,
                      train__keep_checkpoint=True)
    out = tmp_path / "run"
    run(folder, out, chosen)
    for stage in ("", "rounds/1"):
        expected = state(out / stage, 3)
        for path in (out / stage / "checkpoint").iterdir():
            path.unlink()
        reporter = Quiet()
        with run_at(out, 2, stage, reporter=reporter) as start:
            record(start.objective, 2)
            assert_left(start.objective, expected)
        assert "replaying steps 0 to 1" in reporter.messages
    for wrong, message in ((3, "--at-step: expected 0 to 2, the steps of this stage, got 3"), (-1, "expected 0 to 2")):
        with pytest.raises(UserError, match=message), run_at(out, wrong, reporter=Quiet()):
            pass
    with pytest.raises(UserError, match="expected a stage 'rounds/7', found none of that name"), \
            run_at(out, 0, "rounds/7", reporter=Quiet()):
        pass


def test_what_cannot_be_replayed_is_one_line(folder, tmp_path):
    with pytest.raises(UserError, match="expected the folder of a run, with config.toml, found none"), \
            run_at(tmp_path, reporter=Quiet()):
        pass
    out = tmp_path / "run"
    stopped(folder, out, advpicker(), 2)                               # in the first teacher
    with pytest.raises(UserError, match="the stage teachers/seed-1 is not finished, and the stage to study needs it"), \
            run_at(out, reporter=Quiet()):
        pass
    text = tmp_path / "en.txt"
    text.write_text((folder / "en.txt").read_text())
    stopped(folder, tmp_path / "other", settings(**STEPS), 2, inputs=inputs(folder, source=[("en", text)]))
    text.write_text(text.read_text().replace("anna", "ben", 1))
    with pytest.raises(UserError, match="en.txt has changed"), run_at(tmp_path / "other", reporter=Quiet()):
        pass
