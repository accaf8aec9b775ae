"""Twenty steps against a twin in PyTorch; what each update changes; orthogonality; the learning-rate rule."""
import numpy as np
import pytest
import torch

from minixl.alignment.adversarial import MAPPING, AdversarialMapping, orthogonalise
from minixl.alignment.settings import SCHEMA

DIM, HIDDEN, WORDS = 6, 16, 50


def settings(**values):
    return SCHEMA.settings({"adversarial.hidden": HIDDEN, "adversarial.batch_size": 8, "adversarial.steps": 2,
                            **{f"adversarial.{name}": value for name, value in values.items()}})


@pytest.fixture
def training(rng):
    source, target = rng.normal(size=(WORDS, DIM)), rng.normal(0.3, 1, (WORDS - 9, DIM))
    return AdversarialMapping(source, target, settings(), 3, np.float64)


class Twin(torch.nn.Module):
    """The same in PyTorch, written for this test: modules, autograd and torch.optim."""

    def __init__(self, ours):
        super().__init__()
        self.ours = ours
        self.mapping = torch.nn.Linear(DIM, DIM, bias=False).double()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(*sizes).double()
                                          for sizes in ((DIM, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)))
        with torch.no_grad():
            for name, parameter in self.by_name().items():
                parameter.copy_(torch.tensor(ours.store[name].value))
        self.source, self.target = torch.tensor(ours.source), torch.tensor(ours.target)
        self.of_mapping = torch.optim.SGD(self.mapping.parameters(), lr=0.1)
        self.of_discriminator = torch.optim.SGD(self.layers.parameters(), lr=0.1)

    def by_name(self):
        names = [f"discriminator.{layer}.{part}" for layer in ("dense.0", "dense.1", "out") for part in ("weight", "bias")]
        return {MAPPING: self.mapping.weight, **dict(zip(names, self.layers.parameters(), strict=True))}

    def judge(self, x, mask):
        if mask is not None:
            kept = 1 - round(0.1 * 65536) / 65536
            x = x * torch.tensor(mask) / kept
        x = torch.nn.functional.leaky_relu(self.layers[0](x), 0.2)
        x = torch.nn.functional.leaky_relu(self.layers[1](x), 0.2)
        return torch.sigmoid(self.layers[2](x))[:, 0]

    def update(self, draw, optimizer, flip):
        mapped, target = self.mapping(self.source[draw.source]), self.target[draw.target]
        labels = torch.tensor([0.9] * len(mapped) + [0.1] * len(target), dtype=torch.float64)
        judged = self.judge(torch.cat([mapped, target]), draw.mask)
        self.zero_grad()
        torch.nn.functional.binary_cross_entropy(judged, 1 - labels if flip else labels).backward()
        optimizer.step()
        if flip:
            with torch.no_grad():
                w = self.mapping.weight
                w.copy_(1.001 * w - 0.001 * w @ w.T @ w)


def test_twenty_steps_as_in_pytorch(training):
    """From the same start and the same random batches; all parameters within 1e-6 after every step."""
    twin = Twin(training)
    start = {name: parameter.detach().clone().numpy() for name, parameter in twin.by_name().items()}
    for _ in range(20):
        for _ in range(2):
            draw = training.draw(dropout=True)
            training.update_discriminator(draw)
            twin.update(draw, twin.of_discriminator, flip=False)
        draw = training.draw(dropout=False)
        training.update_mapping(draw)
        twin.update(draw, twin.of_mapping, flip=True)
        for name, parameter in twin.by_name().items():
            np.testing.assert_allclose(training.store[name].value, parameter.detach().numpy(), rtol=1e-6, atol=1e-12, err_msg=name)
    for name, before in start.items():
        assert np.abs(training.store[name].value - before).max() > 1e-3, f"{name} did not move"


def snapshot(training):
    return {parameter.name: parameter.value.copy() for parameter in training.store}


def moved(training, before):
    return {name for name, value in before.items() if not np.array_equal(value, training.store[name].value)}


def test_each_update_changes_its_own_parameters_only(training):
    before = snapshot(training)
    training.update_discriminator(training.draw(dropout=True))
    assert moved(training, before) == before.keys() - {MAPPING} and not training.store.grads.any()
    before = snapshot(training)
    training.update_mapping(training.draw(dropout=False))
    assert moved(training, before) == {MAPPING} and not training.store.grads.any()


def test_a_step_is_several_updates_of_d_and_one_of_w(training, monkeypatch):
    calls = []
    monkeypatch.setattr(training, "update_discriminator", lambda draw: calls.append(draw.mask is not None) or (0.5, 0.75))
    monkeypatch.setattr(training, "update_mapping", lambda draw: calls.append("W" if draw.mask is None else "dropout"))
    assert training.step() == (0.5, 0.75) and calls == [True, True, "W"]


@pytest.mark.parametrize("beta, error", [(0.001, 0.02), (0.01, 1e-12)])
def test_orthogonalise_converges(rng, beta, error):
    mapping = np.eye(10) + 0.02 * rng.normal(size=(10, 10))
    before = np.abs(mapping @ mapping.T - np.eye(10)).max()
    for _ in range(2000):
        orthogonalise(mapping, beta)
    after = np.abs(mapping @ mapping.T - np.eye(10)).max()
    assert after < error and after < before / 3


def test_the_learning_rate_decays_and_halves_from_the_second_worse_epoch_on(training):
    rates = []
    for criterion in (0.3, 0.2, 0.25, 0.4, 0.39):
        assert training.end_epoch(criterion)
        rates.append(training.lr)
    expected = 0.1 * 0.98 ** np.arange(1, 6) * [1, 1, 0.5, 0.5, 0.25]
    np.testing.assert_allclose(rates, expected)
    training.lr = 1e-6
    assert not training.end_epoch(0.5)


@pytest.mark.parametrize("words, steps", [(75_000, 31_250), (200_000, 31_250), (25_000, 10_417), (1000, 417)])
def test_epochs_of_small_vocabularies_are_shorter(words, steps):
    training = AdversarialMapping(np.zeros((words, 1), np.float32), np.zeros((900, 1), np.float32),
                                  SCHEMA.settings({"adversarial.hidden": 1}), 1)
    assert training.steps_per_epoch() == steps


def test_the_papers_settings_are_the_defaults():
    values = SCHEMA.settings()
    assert {name.partition(".")[2]: values[name] for name in values if name.startswith("adversarial.")} == {
        "hidden": 2048, "dropout": 0.1, "smoothing": 0.1, "steps": 5, "frequent": 75_000, "batch_size": 32, "epochs": 5,
        "epoch_size": 1_000_000, "lr": 0.1, "discriminator_lr": 0.1, "decay": 0.98, "min_lr": 1e-6, "orthogonal": 0.001}


def test_a_reflected_start_is_in_the_other_half_of_the_orthogonal_maps():
    for reflected, determinant in ((False, 1), (True, -1)):
        training = AdversarialMapping(np.zeros((9, 4)), np.zeros((9, 4)), settings(), 1, np.float64, reflected=reflected)
        np.testing.assert_allclose(training.mapping @ training.mapping.T, np.eye(4))
        assert np.linalg.det(training.mapping) == pytest.approx(determinant)
