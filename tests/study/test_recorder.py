"""Recording a step shows every op, gradient and update of it, and does not change a bit."""
import numpy as np
import pytest

from minixl.methods import resolve
from minixl.ops.embedding import RowSparse
from minixl.run.stage import make_training
from minixl.study.events import BACKWARD, FORWARD, HELPER, norm_of
from minixl.study.recorder import record
from tests.whole_runs import Quiet, inputs, prepared, settings, write_data

TERMS = {"linkage__level": "token", "adversary__level": "sentence", "linkage__lr": 1e-3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def objective(folder, tmp_path, **changes):
    """The objective of a run that has just begun."""
    chosen = settings(**{"train__max_steps": 5, **changes})
    method, chosen, _ = resolve(chosen)
    files = inputs(folder)
    files.encoder = files.encoder if chosen["model.type"] == "transformer" else None
    return make_training(method, chosen, 3, prepared(chosen, files, 3), tmp_path, Quiet()).objective


def bits(made):
    """Parameters and moments."""
    state = {parameter.name: parameter.value.copy() for parameter in made.model.store}
    return state | {f"{loss}/{key}": np.array(value) for loss, optimizer in made.optimizers.items()
                    for key, value in optimizer.state_dict().items()}


@pytest.mark.parametrize("changes", [
    {}, {"train__accumulate": 2}, TERMS, {"perturbation__kind": "adversarial"},
    {"model__type": "bilstm-crf", "optim__name": "sgd"}],
    ids=["finetune", "accumulated", "adversary and linkage", "perturbation", "bilstm-crf"])
def test_recording_does_not_change_a_bit(folder, tmp_path, changes):
    plain, recorded = objective(folder, tmp_path, **changes), objective(folder, tmp_path, **changes)
    for step in range(2):
        updates, recording = plain.step(step), record(recorded, step)
        assert recording.updates == updates and not recorded.observers
        assert all(not update.moved_others for update in recording.update_records())
        seen, expected = bits(recorded), bits(plain)
        assert seen.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(seen[name], value, err_msg=name)


def test_every_call_has_its_place_in_the_model(folder, tmp_path):
    recording = record(objective(folder, tmp_path), 0)
    forward, backward = ([(call.site, call.op) for call in recording.calls(kind)] for kind in (FORWARD, BACKWARD))
    layer = "bert.encoder.layer.1"
    expected = [(f"{layer}.attention.self.{name}", "linear") for name in ("query", "key", "value")] + [
        (f"{layer}.attention", "attention"), (f"{layer}.attention.output.dense", "linear"),
        (f"{layer}.attention.output.dropout", "dropout"), (f"{layer}.attention.output.LayerNorm", "layernorm"),
        (f"{layer}.intermediate.dense", "linear"), (f"{layer}.gelu", "gelu"), (f"{layer}.output.dense", "linear"),
        (f"{layer}.output.dropout", "dropout"), (f"{layer}.output.LayerNorm", "layernorm")]
    assert [pair for pair in forward if pair[0].startswith(layer)] == expected
    assert forward[0] == ("bert.embeddings.word_embeddings", "embedding") and forward[4] == ("bert.embeddings.dropout", "dropout")
    assert forward[-3:] == [("classifier.dropout", "dropout"), ("classifier", "linear"),
                            ("loss.softmax_cross_entropy", "softmax_cross_entropy")]
    assert sorted(backward) == sorted(forward) and len(set(forward)) == len(forward)
    assert backward[0] == forward[-1] and not recording.calls(HELPER)
    nested = [call for call in recording.events if getattr(call, "depth", 0)]
    assert {(call.site, call.op) for call in nested} == {
        ("loss.softmax_cross_entropy.log_softmax", "log_softmax"),
        *((f"bert.embeddings.{name}_embeddings.sum_rows", "sum_rows") for name in ("word", "position", "token_type"))}


def test_a_call_has_its_arrays_and_parameters(folder, tmp_path):
    made = objective(folder, tmp_path)
    before = {parameter.name: parameter.value.copy() for parameter in made.model.store}
    recording = record(made, 0)
    name = "bert.encoder.layer.0.output.dense"
    forward, backward = (next(call for call in recording.calls(kind) if call.site == name) for kind in (FORWARD, BACKWARD))
    assert forward.parameters == backward.parameters == {"weight": f"{name}.weight", "bias": f"{name}.bias"}
    np.testing.assert_array_equal(forward.arguments["weight"], before[f"{name}.weight"])
    product = forward.arguments["x"] @ before[f"{name}.weight"].T + before[f"{name}.bias"]
    np.testing.assert_allclose(forward.outputs, product, rtol=1e-4, atol=1e-5)   # before the model adds the residual to it
    np.testing.assert_allclose(backward.outputs, backward.arguments["dy"] @ before[f"{name}.weight"], rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(backward.cache.x, forward.arguments["x"])
    update, = recording.update_records()
    np.testing.assert_array_equal(backward.grads["weight"], update.gradients[f"{name}.weight"])
    assert forward.function.__name__ == "linear_forward" and "cache" not in backward.arguments


def test_an_update_has_its_subset_norms_and_moments(folder, tmp_path):
    made = objective(folder, tmp_path, **TERMS)
    weight = "classifier.weight", (0, 1)
    table = "bert.embeddings.word_embeddings.weight", (3, 0)
    before = {parameter.name: parameter.value.copy() for parameter in made.model.store}
    recording = record(made, 0, [weight, table])
    updates = {update.loss: update for update in recording.update_records()}
    assert list(updates) == ["task", "discriminator", "generator", "average linkage"]
    assert updates["discriminator"].names == ["discriminator.weight", "discriminator.bias"]
    assert not any(name.startswith(("classifier", "discriminator")) for name in updates["generator"].parameters)
    for update, made_update in zip(updates.values(), recording.updates, strict=True):
        assert (update.norm, update.value, update.lr) == (made_update.gradient_norm, made_update.value, made_update.lr)
        assert update.parameters.keys() == set(update.names) and not update.moved_others
    task = updates["task"]
    head, = (held for held in task.weights if held.name == weight[0])
    assert head.before == before[weight[0]][weight[1]] and head.after == made.model.store[weight[0]].value[weight[1]]
    np.testing.assert_allclose(head.moments["m"], (0, 0.1 * head.gradient * min(1, 1 / task.norm)), rtol=1e-4)
    assert [held.name for held in updates["generator"].weights] == [table[0]]
    change = np.linalg.norm(made.model.store[weight[0]].value - before[weight[0]])
    np.testing.assert_allclose(task.parameters[weight[0]].change_norm, change, rtol=1e-6)
    assert 0 < task.parameters[weight[0]].gradient_norm < task.norm and 0 < change < task.change_norm


def test_the_second_pass_is_numbered(folder, tmp_path):
    recording = record(objective(folder, tmp_path, perturbation__kind="adversarial"), 0)
    sites = [call.site for call in recording.calls(FORWARD)]
    assert sites.count("classifier") == sites.count("classifier#2") == 1
    assert [call.site for call in recording.calls(BACKWARD) if call.op == "softmax_cross_entropy"] == [
        "loss.softmax_cross_entropy", "loss.softmax_cross_entropy#2"]


def test_places_in_a_bilstm_crf(folder, tmp_path):
    made = objective(folder, tmp_path, model__type="bilstm-crf")
    sites = [(call.site, call.op) for call in record(made, 0).calls(FORWARD)]
    assert sites == [("word_embeddings", "embedding"), ("char_embeddings", "embedding"), ("char_lstm", "bilstm"),
                     ("encoder.dropout", "dropout"), ("word_lstm", "bilstm"), ("encoder.dropout#2", "dropout"),
                     ("dense", "linear"), ("classifier", "linear"), ("crf", "crf")]


def test_an_update_of_other_parameters_is_reported(folder, tmp_path):
    """A method that moves a parameter outside its subset, which none may."""
    made = objective(folder, tmp_path)
    made.subsets["task"].remove("classifier.bias")                     # the optimiser still has it
    update, = record(made, 0).update_records()
    assert update.moved_others == ["classifier.bias"] and "classifier.bias" not in update.parameters


def test_the_norm_of_a_large_array(monkeypatch, rng):
    """In blocks, of an array, of a RowSparse, of a difference."""
    monkeypatch.setattr("minixl.study.events.BLOCK", 7)
    array, other = rng.normal(size=(2, 5, 9)).astype(np.float32)
    np.testing.assert_allclose(norm_of(array), np.linalg.norm(array.astype(float)), rtol=1e-12)
    np.testing.assert_allclose(norm_of(array, other), np.linalg.norm(array.astype(float) - other), rtol=1e-6)
    assert norm_of(RowSparse(np.array([1]), np.array([[3.0, 4.0]]))) == 5 and norm_of(None) == 0
