"""What the page computes itself agrees with what the ops computed in the recorded step."""
from itertools import product

import numpy as np
import pytest

from minixl.models.discriminators import discriminator_forward
from minixl.ops.average_linkage import average_linkage_backward, average_linkage_forward
from minixl.study.events import BACKWARD, FORWARD
from minixl.study.page.crf import lattices
from minixl.study.page.languages import accuracies, block_of, moved_blocks
from minixl.study.page.linkage import pulls
from minixl.study.page.perturbed import PLACES, loss_along, watching
from minixl.study.recorder import record
from tests.study.page.steps import recorded, started


def call_of(recording, op, kind):
    return next(call for call in recording.calls(kind) if call.op == op)


def test_the_lattice_is_the_gradient_of_the_crf(encoder):
    recording, _ = recorded(encoder, "bilstm-crf")
    call, back = call_of(recording, "crf", FORWARD), call_of(recording, "crf", BACKWARD)
    found = lattices(call)
    assert len(found) == 2
    np.testing.assert_allclose(np.concatenate([one.error for one in found]) / 2, back.outputs, atol=1e-6)    # a mean over two
    edges = sum(one.edges.sum(axis=0) for one in found) / 2
    for one in found:
        np.add.at(edges, (one.gold[:-1], one.gold[1:]), -0.5)
    np.testing.assert_allclose(edges, back.grads["transitions"], atol=1e-6)
    np.testing.assert_allclose([one.log_partition - one.gold_score for one in found], call.outputs, rtol=1e-5)
    for one in found:
        np.testing.assert_allclose(one.edges.sum(axis=2), one.node[:-1], rtol=1e-9)
        np.testing.assert_allclose(one.edges.sum(axis=1), one.node[1:], rtol=1e-9)


def test_paths_of_the_lattice_against_all_paths(encoder):
    recording, _ = recorded(encoder, "bilstm-crf")
    call = call_of(recording, "crf", FORWARD)
    one = lattices(call)[0]
    scores = call.cache.scores
    x, moves = scores.emissions[one.first:one.first + len(one.gold)].astype(float), scores.transitions.astype(float)

    def score(path):
        return x[np.arange(len(path)), list(path)].sum() + moves[list(path[:-1]), list(path[1:])].sum()

    scores = {path: score(path) for path in product(range(x.shape[1]), repeat=len(x))}
    assert tuple(one.best) == max(scores, key=scores.get) and one.best_score == pytest.approx(max(scores.values()))
    assert one.gold_score == pytest.approx(scores[tuple(one.gold)])
    assert one.log_partition == pytest.approx(np.logaddexp.reduce(list(scores.values())))


def test_pulls_add_up_to_the_gradient(encoder, rng):
    recording, _ = recorded(encoder, "linkage")
    call, back = call_of(recording, "average_linkage", FORWARD), call_of(recording, "average_linkage", BACKWARD)
    found = pulls(call)
    both = np.concatenate([back.outputs, back.grads["y"]])
    np.testing.assert_allclose(found.both, np.linalg.norm(both, axis=1), rtol=1e-3)                          # float32
    assert found.border == len(call.arguments["x"]) and found.distances.shape == (len(both), len(both))
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    y[0] = x[0]                                                        # a clipped pair has no gradient
    value, cache = average_linkage_forward(x, y)
    dx, grads = average_linkage_backward(np.float64(1), cache)
    found = pulls(call._replace(arguments={"x": x, "y": y}))
    np.testing.assert_allclose(found.both, np.linalg.norm(np.concatenate([dx, grads["y"]]), axis=1), rtol=1e-9)
    d, n = found.distances, found.border
    assert 2 * d[:n, n:].mean() - d[:n, :n].mean() - d[n:, n:].mean() == pytest.approx(float(value), abs=2e-3)   # i = j: 1e-3


def test_the_loss_along_r_passes_through_the_recorded_losses(encoder):
    with started(encoder, "linkage", "perturbation.epsilon=0.1") as start:
        with watching(start.objective) as seen:
            recording = record(start.objective, 0)
        after = {parameter.name: parameter.value.copy() for parameter in start.objective.model.store}
        losses = dict(zip(PLACES.tolist(), loss_along(seen, start.objective, recording), strict=True))
    values = {update.loss: update.value for update in recording.updates}
    assert losses[0.0] == pytest.approx(values["task"], rel=1e-6)
    assert losses[1.0] == pytest.approx(values["perturbed task"], rel=1e-6)
    g, r = np.concatenate(seen.directions), np.concatenate(seen.shifts)
    slope = (8 * (losses[0.125] - losses[-0.125]) - (losses[0.25] - losses[-0.25])) / 1.5
    assert slope == pytest.approx(float((g * r).sum()), rel=0.01)
    for name, value in after.items():
        np.testing.assert_array_equal(start.objective.model.store[name].value, value, err_msg=name)
        np.testing.assert_array_equal(recording.after[name], value, err_msg=name)
    assert "shifts" not in vars(start.objective.parts[1]) | vars(start.objective.parts[2]), "the term is as it was"


@pytest.mark.parametrize("name", ["language-adversarial", "token"])
def test_the_discriminator_before_and_after(encoder, name):
    recording, start = recorded(encoder, name)
    update = next(update for update in recording.update_records() if update.loss == "discriminator")
    before, after = accuracies(recording)
    assert before == update.accuracy and 0 <= after <= 1
    phase = [event for event in recording.events[:recording.events.index(update)] if getattr(event, "site", "").startswith("discr")]
    weight = start.objective.model.store["discriminator.weight" if name == "language-adversarial" else "discriminator.dense.weight"]
    assert phase and np.any(weight.value != phase[-1].cache.weight), "it has moved"
    assert accuracies(recorded(encoder, "finetune")[0]) is None


@pytest.mark.parametrize(("name", "kind"), [("language-adversarial", "sentence"), ("token", "token")])
def test_the_accuracy_after_a_large_step(encoder, name, kind):
    """Computed with the model's discriminator as it is after the step, which is far from what it was."""
    with started(encoder, name, "adversary.discriminator_lr=0.05") as start:
        recording = record(start.objective, 0)
    number, batch = recording.batches[1]
    reader = {"sentence": "discriminator.mean_pooling", "token": "discriminator.dense"}[kind]
    states = next(event.arguments["x"] for event in recording.events[number:] if event.site == reader)
    logits, _ = discriminator_forward(states, start.objective.model.store.under("discriminator"), starts=batch.starts, kind=kind)
    border = 2 if kind == "sentence" else int(batch.starts[2])         # two source sentences, then one target sentence
    before, after = accuracies(recording)
    assert after == ((logits[:border] > 0).mean() + (logits[border:] <= 0).mean()) / 2 and after != before


def test_what_each_update_moved(encoder):
    recording, _ = recorded(encoder, "language-adversarial")
    names, changes = moved_blocks(recording)
    table = dict(zip(names, changes, strict=True))
    assert names == ["bert.embeddings", "bert.encoder.layer.0", "bert.encoder.layer.1", "classifier", "discriminator"]
    assert [value is not None for value in table["bert.encoder.layer.0"]] == [True, False, True]
    assert [value is not None for value in table["discriminator"]] == [False, True, False]
    assert [value is not None for value in table["classifier"]] == [True, False, False]
    for name, rows in table.items():
        last = [np.linalg.norm(recording.after[one] - recording.before[one]) for one in recording.before if block_of(one) == name]
        assert sum(value or 0 for value in rows) >= 0.99 * np.linalg.norm(last)
