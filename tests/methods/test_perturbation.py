"""The perturbation as a term: against PyTorch, norms of r, dropout masks, parts, planted mistakes, rise of the loss."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from minixl.data.batching import pack
from minixl.errors import UserError
from minixl.methods import METHODS, SCHEMA, perturbation
from minixl.methods.advpicker.student import Distillation
from minixl.methods.perturbation import NORMS, PERTURBED, RANDOM_COMPARISON, Perturbation
from minixl.models.transformer import Transformer
from minixl.packing import owner_of
from minixl.settings import Settings
from minixl.training.objective import TASK, Composition, Objective
from tests.methods.planted_languages import make_model
from tests.methods.twin_language_adversarial import Twin, mean
from tests.models.hugging_face import LABELS, padded, random_examples
from tests.mutants import mutant
from tests.training.one_update import Dealt, supervised

PLAIN = {"optim.name": "adam", "optim.schedule": "constant", "optim.warmup": 0.0, "optim.clip": 0.0, "optim.lr": 1e-3,
         "adversary.level": "sentence", "perturbation.kind": "adversarial", "perturbation.epsilon": 0.7}


def settings(**changed) -> Settings:
    return SCHEMA.settings(PLAIN | changed)


def make_batches(rng, count: int, pooling: str = "token", size: int = 5):
    batches = []
    for _ in range(count):
        examples = random_examples(rng, rng.integers(1, 9, size))
        if pooling != "token":
            examples = [type(e)(e.input_ids, np.zeros(0, int), rng.integers(0, len(LABELS), 1), e.source, 0) for e in examples]
        batches.append(pack(examples))
    return batches


def objective(made, batches, chosen: Settings, module=perturbation, main: Objective | None = None) -> Composition:
    main = main or supervised(made, batches, chosen, total=len(batches))
    term = module.Perturbation(made, main.streams, chosen, 1, len(batches))
    return Composition(main, [term])


class PerturbedTwin(Twin):
    """Reads word vectors with r added, as a PyTorch user would write it; r is made by the formula of each norm, in loops."""

    def loss_at(self, batch, shift: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and the word vectors (B, L, H) that it was computed from."""
        values = padded(batch)
        words = self.bert.embeddings.word_embeddings(values["input_ids"])
        words = (words if shift is None else words + shift)
        words.retain_grad()
        mask = values["attention_mask"].double()
        states = self.bert(inputs_embeds=words, attention_mask=values["attention_mask"]).last_hidden_state
        if self.pooling == "mean":
            return torch.nn.functional.cross_entropy(self.classifier(mean(states, mask)), torch.tensor(batch.labels)), words
        return torch.nn.functional.cross_entropy(self.classifier(states).flatten(0, 1), values["labels"].flatten(),
                                                 ignore_index=-100), words

    def shift(self, batch, slope: torch.Tensor, norm: str, epsilon: float) -> torch.Tensor:
        shift, ids, mask = torch.zeros_like(slope), padded(batch)["input_ids"], padded(batch)["attention_mask"].bool()
        if norm == "table":
            table = torch.zeros_like(self.bert.embeddings.word_embeddings.weight)
            table.index_add_(0, ids[mask], slope[mask])
            return (table * epsilon / table.norm())[ids] * mask[..., None]
        for row, length in enumerate(mask.sum(1)):
            for part in [slice(length)] if norm == "sequence" else range(length):
                if slope[row, part].any():                             # a sentence without labels has no slope
                    shift[row, part] = slope[row, part] * epsilon / slope[row, part].norm()
        return shift


def assert_equals_twin(rng, steps: int, pooling: str = "token", module=perturbation, **changed) -> None:
    chosen = settings(**changed)
    made, batches = make_model(chosen, pooling), make_batches(rng, steps, pooling)
    before = {p.name: p.value.copy() for p in made.store}
    twin, ours = PerturbedTwin(made), objective(made, batches, chosen, module)
    trained = [p for name, p in twin.named_parameters() if not name.startswith("discriminator")]
    optimizer = torch.optim.Adam(trained, lr=chosen["optim.lr"])
    for step, batch in enumerate(batches):
        clean, words = twin.loss_at(batch, None)
        clean.backward()
        if chosen["perturbation.loss"] == "perturbed":
            optimizer.zero_grad()
        shifted, _ = twin.loss_at(batch, twin.shift(batch, words.grad, chosen["perturbation.norm"], chosen["perturbation.epsilon"]))
        shifted.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, chosen["optim.clip"] or float("inf")).item()
        optimizer.step()
        optimizer.zero_grad()
        task, extra = ours.step(step)
        assert (task.loss, task.value, task.gradient_norm) == (TASK, pytest.approx(clean.item(), rel=1e-7),
                                                               pytest.approx(norm, rel=1e-6))
        assert (extra.loss, extra.value, extra.step) == (PERTURBED, pytest.approx(shifted.item(), rel=1e-6), step)
    for name, parameter in twin.named_parameters():
        expected = parameter.detach().numpy()
        way = max(np.abs(expected - before[name]).max(), 1e-4)
        if "key.bias" in name:                                         # its gradient is rounding, which Adam enlarges
            way = steps * 1e-3
        np.testing.assert_allclose(made.store[name].value, expected, rtol=0, atol=1e-6 * way, err_msg=name)


@pytest.mark.parametrize("pooling", ["token", "mean"])
@pytest.mark.parametrize("norm", NORMS)
def test_twenty_steps_equal_pytorch(rng, pooling, norm):
    assert_equals_twin(rng, 20, pooling, **{"perturbation.norm": norm, "optim.clip": 0.5})


def test_the_perturbed_loss_alone_equals_pytorch(rng):
    assert_equals_twin(rng, 5, **{"perturbation.loss": "perturbed"})


def test_parts_of_a_batch_make_the_same_step(rng):
    for norm in NORMS:
        assert_equals_twin(rng, 2, **{"perturbation.norm": norm, "train.accumulate": 3})


MISTAKES = [
    ("r points downhill", "return direction * _scale(xp.sqrt(squares)", "return direction * -_scale(xp.sqrt(squares)"),
    ("norm of the whole batch", "(mean_pooling_forward(squares, starts)[0] * lengths)[xp.asarray(owner_of(starts))]",
     "squares.sum() + 0 * squares"),
    ("clean gradients forgotten", "== ONLY_PERTURBED", "== BOTH"),
    ("the shift is not applied", "loss.loss_forward(part, rng=masks, shift=shift)\n", "loss.loss_forward(part, rng=masks)\n"),
    ("the perturbed pass has no backward", "            loss.loss_backward(share, cache)\n", ""),
    ("epsilon squared", "epsilon / xp.where", "epsilon ** 2 / xp.where"),
    ("share forgotten", "loss.loss_backward(share, cache)\n            perturbed",
     "loss.loss_backward(1.0, cache)\n            perturbed"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    changed = mutant("minixl.methods.perturbation", old, new)
    with pytest.raises(AssertionError):
        assert_equals_twin(rng, 2, "token", changed, **{"train.accumulate": 2})


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_norm_is_epsilon_and_a_zero_gradient_gives_no_shift(rng, dtype):
    starts, ids = np.array([0, 3, 4, 9]), np.array([5, 2, 5, 7, 2, 5, 9, 9, 9])
    direction = (1e-20 * rng.normal(size=(9, 6))).astype(dtype)        # its square is 0 in float32
    direction[3] = 0
    of_sequence = perturbation.perturbation(direction, ids, starts, norm="sequence", epsilon=2.5)
    lengths = np.sqrt(np.bincount(owner_of(starts), (of_sequence.astype(float) ** 2).sum(1)))
    np.testing.assert_allclose(lengths, [2.5, 0, 2.5], rtol=1e-6)
    of_token = perturbation.perturbation(direction, ids, starts, norm="token", epsilon=2.5)
    np.testing.assert_allclose(np.linalg.norm(of_token, axis=1), 2.5 * (np.arange(9) != 3), rtol=1e-6)
    of_table = perturbation.perturbation(direction, ids, starts, norm="table", epsilon=2.5)
    _, first = np.unique(ids, return_index=True)
    np.testing.assert_allclose(np.linalg.norm(of_table[first]), 2.5, rtol=1e-6)
    for word in (2, 5, 9):
        assert (of_table[ids == word] == of_table[ids == word][0]).all()
    assert of_sequence.dtype == of_token.dtype == of_table.dtype == dtype


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_the_loss_rises_more_than_under_noise(rng, pooling):
    """For a small epsilon, on the same batch with the same dropout masks."""
    chosen = settings(**{"perturbation.epsilon": 0.05, "perturbation.compare": True, "optim.lr": 0.0, "optim.head_lr": 0.0})
    rises = []
    for batch in make_batches(rng, 10, pooling):
        made = make_model(chosen, pooling, dropout=0.2)
        values = {update.loss: update.value for update in objective(made, [batch], chosen).step(0)}
        rises.append((values[PERTURBED] - values[TASK], values[RANDOM_COMPARISON] - values[TASK]))
    adversarial, noise = np.array(rises).T
    assert (adversarial > 0).all() and (adversarial > noise).all() and abs(noise.mean()) < adversarial.mean() / 3


def test_masks_are_the_same_in_both_passes_or_new(rng):
    """With a perturbation of almost no length, equal masks give the same loss twice, others do not."""
    batch, = make_batches(rng, 1)
    for masks in ("same", "new"):
        chosen = settings(**{"perturbation.epsilon": 1e-9, "perturbation.masks": masks, "train.accumulate": 2})
        task, extra = objective(make_model(chosen, dropout=0.3), [batch], chosen).step(0)
        assert (extra.value == pytest.approx(task.value, rel=1e-6)) == (masks == "same")


def test_random_directions_depend_on_seed_and_step_alone(rng):
    batch, = make_batches(rng, 1)
    chosen = settings(**{"perturbation.kind": "random", "perturbation.epsilon": 3.0})
    values = []
    for step in (0, 0, 1):
        ours = objective(make_model(chosen), [batch], chosen)
        values.append(ours.step(step)[1].value)
    assert values[0] == values[1] != values[2]


def test_specials_are_spared(rng, monkeypatch):
    batch, = make_batches(rng, 1)
    chosen, shifts = settings(**{"perturbation.specials": False}), []
    made = make_model(chosen)
    real = made.loss_forward
    monkeypatch.setattr(made, "loss_forward", lambda part, *, shift=None, **options: (shifts.append(shift),
                                                                                      real(part, shift=shift, **options))[1])
    objective(made, [batch], chosen).step(0)
    zero = ~shifts[1].any(axis=1)
    assert set(np.flatnonzero(zero)) == {*batch.starts[:-1], *(batch.starts[1:] - 1)}


def test_a_student_is_perturbed_too(rng):
    """The soft labels' loss has the same interface: the perturbed loss is higher, and its gradient moves the student."""
    batch, = make_batches(rng, 1)
    batch = batch._replace(labels=np.arange(len(batch.rows)))
    targets = rng.dirichlet(np.ones(len(LABELS)), len(batch.rows))
    chosen, moved = settings(method="advpicker", **{"perturbation.epsilon": 0.05}), []
    for kind in ("none", "adversarial"):
        made: Transformer = make_model(chosen)
        main = Distillation(made, {"source": Dealt([batch])}, chosen, 1, 10, targets=targets)
        updates = main.step(0) if kind == "none" else objective(made, [batch], chosen, main=main).step(0)
        moved.append(made.store["classifier.weight"].value.copy())
    assert updates[1].value > updates[0].value and (moved[0] != moved[1]).any()


@pytest.mark.parametrize("name", ["finetune", "language-adversarial", "advpicker"])
def test_any_method_takes_the_term(name):
    chosen = settings(method=name, **{"adversary.level": "sentence"})
    assert Perturbation in METHODS[name].active_terms(chosen)
    assert Perturbation not in METHODS[name].active_terms(chosen.override(["perturbation.kind=none"]))


def test_kept_states_are_refused(rng):
    chosen = settings(**{"model.keep_frozen": True})
    with pytest.raises(UserError, match="^model.keep_frozen: expected false, .*perturbation.kind=adversarial.*; --set model.k"):
        Perturbation.check_model(make_model(chosen), chosen)
