"""A shift of the embeddings and the gradient with respect to them: against PyTorch, central differences, one fast-gradient step."""
import numpy as np
import pytest
import torch

from minixl.models.transformer import Transformer
from minixl.packing import owner_of
from tests.models.hugging_face import LABELS, assert_gradients, gradient, make_batch, padded, tiny_pair, unpadded
from tests.ops.checks import assert_close

FROZEN = [[], ["bert.embeddings.*"], ["bert.embeddings.*", "bert.encoder.layer.[01].*"], ["bert.*"], ["*"]]


def run(ours: Transformer, batch, **options):
    return ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts, **options)


def padded_rows(rows: np.ndarray, mask: torch.Tensor) -> torch.Tensor:
    """(T, H) -> (B, longest, H), zero where the mask is."""
    full = np.zeros((*mask.shape, rows.shape[1]))
    full[mask.numpy() == 1] = rows
    return torch.tensor(full)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("patterns", FROZEN, ids=str)
def test_hidden_states_and_gradients_are_pytorchs(rng, patterns, shifted):
    """transformers reads word vectors with the shift added.  Frozen parameters get no gradient, the others the usual one."""
    theirs, ours = tiny_pair("token")
    frozen = ours.store.freeze(patterns) if patterns else []
    batch = make_batch(rng)
    mask = padded(batch)["attention_mask"]
    shift = 0.5 * rng.normal(size=(batch.tokens, 24)) if shifted else None
    words = theirs.bert.embeddings.word_embeddings(padded(batch)["input_ids"])
    inputs = words + padded_rows(shift, mask) if shifted else words
    inputs.retain_grad()
    expected = theirs.bert(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
    dhidden = rng.normal(size=(batch.tokens, 24))
    expected.backward(padded_rows(dhidden, mask))

    hidden, cache = run(ours, batch, shift=shift, keep="all")
    assert_close(hidden, unpadded(expected, batch), 1e-9, "hidden")
    dembeddings = ours.bert.backward(dhidden, cache, need_dembeddings=True)
    assert_close(dembeddings, unpadded(inputs.grad, batch), 1e-9, "dembeddings")
    assert all(not gradient(ours, name).any() for name in frozen)
    if not frozen:
        for parameter in theirs.classifier.parameters():
            parameter.grad = torch.ones_like(parameter)                # not the encoder's
        ours.store.accumulate("", {"classifier": {"weight": 1.0, "bias": 1.0}})
        assert_gradients(ours, theirs, 1e-9)
    else:
        found = {name: gradient(ours, name).copy() for name in ours.bert.shapes(ours.config) if name not in frozen}
        ours.store.zero_grad()
        assert ours.bert.backward(dhidden, run(ours, batch, shift=shift)[1]) is None
        for name, value in found.items():
            np.testing.assert_array_equal(gradient(ours, name), value, err_msg=name)


@pytest.mark.parametrize("pooling", ["token", "mean", "cls"])
@pytest.mark.parametrize("patterns", [[], ["bert.embeddings.*", "bert.encoder.layer.0.*"], ["*"]], ids=str)
def test_central_difference_of_the_loss_with_dropout(rng, pooling, patterns):
    """Through the whole model: the same generator draws the same masks, whatever the shift."""
    ours = Transformer(tiny_pair("cls", hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)[1].config, LABELS, pooling,
                       dtype=np.float64)
    for parameter in ours.store:
        parameter.value[...] = 0.3 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    if patterns:
        ours.store.freeze(patterns)
    batch = make_batch(rng, documents=pooling != "token")
    shift, direction = rng.normal(size=(2, batch.tokens, 24))

    def loss(shift, **options):
        return ours.loss_forward(batch, rng=np.random.default_rng(4), shift=shift, **options)

    value, cache = loss(shift, keep="all")
    assert value == loss(shift)[0] != loss(None)[0]
    slope = (ours.loss_backward(1.0, cache, need_dembeddings=True) * direction).sum()
    difference = (loss(shift + 1e-5 * direction)[0] - loss(shift - 1e-5 * direction)[0]) / 2e-5
    assert difference == pytest.approx(slope, rel=1e-6)


def test_the_masks_do_not_depend_on_the_shift(rng):
    _, ours = tiny_pair("token", hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    ours.store.freeze(["bert.embeddings.*", "bert.encoder.layer.0.*"])
    batch = make_batch(rng)
    caches = [run(ours, batch, rng=np.random.default_rng(4), keep="all", shift=shift)[1]
              for shift in (None, rng.normal(size=(batch.tokens, 24)))]
    one, two = ([cache.embeddings.dropout.mask, *(mask for layer in cache.layers for mask in
                 (layer.attention.mask, layer.attention_output.dropout.mask, layer.output.dropout.mask))] for cache in caches)
    assert len(one) == 10
    for mask, other in zip(one, two, strict=True):
        np.testing.assert_array_equal(mask, other)


@pytest.mark.parametrize("patterns", FROZEN, ids=str)
def test_a_shift_of_zero_changes_no_bit_and_a_shift_is_not_written_to(rng, patterns):
    _, ours = tiny_pair("token")
    if patterns:
        ours.store.freeze(patterns)
    batch = make_batch(rng)
    zero, some = np.zeros((batch.tokens, 24)), rng.normal(size=(batch.tokens, 24))
    before, (hidden, cache) = some.copy(), run(ours, batch)
    for options in ({"shift": zero}, {"keep": "all"}):
        np.testing.assert_array_equal(run(ours, batch, **options)[0], hidden)
    kept = [layer is None for layer in run(ours, batch, shift=some)[1].layers]
    assert kept == [layer is None for layer in cache.layers], "a shift alone keeps no more caches"
    everything = run(ours, batch, shift=some, keep="all")[1]
    assert everything.embeddings is not None and None not in everything.layers
    np.testing.assert_array_equal(some, before)


def test_errors(rng):
    _, ours = tiny_pair("token")
    ours.store.freeze(["bert.embeddings.*", "bert.encoder.layer.0.*"])
    batch = make_batch(rng)
    shift = np.zeros((batch.tokens, 24))
    with pytest.raises(ValueError, match=r"^shift: expected shape \(40, 24\), got \(39, 24\)$"):
        ours.forward(batch, shift=shift[1:])
    bottom = batch._replace(bottom=ours.bert.frozen_bottom(batch.input_ids, batch.position_ids, batch.starts))
    for name, options in (("shift", {"shift": shift}), ('keep="all"', {"keep": "all"})):
        with pytest.raises(ValueError, match=f"^{name}: expected no bottom states, .* pass bottom=None"):
            ours.loss_forward(bottom, **options)
    _, cache = ours.loss_forward(batch)
    with pytest.raises(ValueError, match='^need_dembeddings: expected the caches of all layers; call forward with keep="all"$'):
        ours.loss_backward(1.0, cache, need_dembeddings=True)


@pytest.mark.parametrize("patterns", [[], ["bert.embeddings.*", "bert.encoder.layer.0.*"]], ids=str)
def test_a_fast_gradient_step_is_worse_than_a_random_one(rng, patterns):
    """r = eps · g / |g| of every sentence (Miyato et al. 2017) raises the loss, more than random directions of the same norm."""
    _, ours = tiny_pair("token")
    if patterns:
        ours.store.freeze(patterns)
    rises = []
    for _ in range(5):
        batch = make_batch(rng)
        owner = owner_of(batch.starts)

        def of_length(rows: np.ndarray, owner=owner) -> np.ndarray:
            """Scale rows (T, H) to the same norm for every sentence."""
            norms = np.sqrt(np.bincount(owner, weights=(rows * rows).sum(axis=1)))
            return 0.05 * rows / np.maximum(norms, 1e-12)[owner, None]

        loss, cache = ours.loss_forward(batch, keep="all")
        perturbation = of_length(ours.loss_backward(1.0, cache, need_dembeddings=True))
        adversarial = ours.loss_forward(batch, shift=perturbation)[0] - loss
        drawn = [ours.loss_forward(batch, shift=of_length(rng.normal(size=perturbation.shape)))[0] - loss for _ in range(20)]
        assert adversarial > 0
        rises.append((adversarial, np.mean(drawn), np.max(drawn)))
    adversarial, mean, highest = np.mean(rises, axis=0)
    assert adversarial > highest and adversarial > 3 * abs(mean)
