"""A BERT tagger and a CRF with kernels: the arrays that ops pass to each other must be what the kernels accept.

`FakeCupy` is NumPy under another name, so that every op runs as on a GPU.
"""
import types
from dataclasses import replace

import numpy as np
import pytest

from minixl import backend, kernels, prediction
from minixl.data.encoding import Encoded
from minixl.models import bilstm_crf
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.transformer import Transformer
from minixl.ops.crf import crf_backward, crf_forward
from minixl.ops.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minixl.ops.viterbi import viterbi
from minixl.prediction import predict_labels
from tests.kernels import host
from tests.models.hugging_face import copy_weights, make_batch, random_examples, tiny_pair
from tests.models.test_bilstm_crf import UNTIED, examples_of, model_of


class FakeCupy(types.ModuleType):
    """NumPy's functions and classes, so that every NumPy array is an instance of cupy.ndarray."""

    def __getattr__(self, name):
        return getattr(np, name)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """A function that starts the pretence and returns the list of the kernels that run from then on, by name."""
    called = []

    def load(filename, function):
        called.append(function)
        return host.load(filename, function)

    def begin():
        monkeypatch.setattr(backend, "cupy", FakeCupy("cupy"))
        monkeypatch.setattr(kernels, "load", load)
        return called
    return begin


def test_crf_and_viterbi(rng, as_on_a_gpu):
    """Negative log-likelihood, its gradients and the best tags, with the kernels and without."""
    starts, tags = np.array([0, 4, 4, 9]), 5
    emissions, (transitions, start, end) = rng.normal(size=(9, tags)), rng.normal(size=(3, tags, tags))
    arrays = [a.astype(np.float32) for a in (emissions, transitions, start[0], end[0])]
    gold, dy = rng.integers(0, tags, 9), rng.normal(size=3).astype(np.float32)
    results = []
    for on_gpu in (False, True):
        called = as_on_a_gpu() if on_gpu else []
        nll, cache = crf_forward(*arrays, tags=gold, starts=starts)
        demissions, grads = crf_backward(dy, cache)
        best, _ = viterbi(arrays[0], starts, transitions=arrays[1], start=arrays[2], end=arrays[3])
        results.append((nll, demissions, *grads.values(), best))
    assert {"crf_forward", "crf_marginals", "crf_edges", "viterbi_v2"} <= set(called)
    for without, with_kernels in zip(*results, strict=True):
        np.testing.assert_allclose(with_kernels, without, rtol=1e-4, atol=1e-5)


def tagger(rng) -> tuple[Transformer, Encoded]:
    theirs, wide = tiny_pair("token")
    model = Transformer(wide.bert.config, wide.labels, "token", dtype=np.float32)
    copy_weights(theirs, model)
    examples = random_examples(rng)
    return model, Encoded(examples, len(examples))


def crf(rng) -> tuple[BilstmCrf, Encoded]:
    model = model_of(replace(UNTIED, start_end=True), rng, dtype=np.float32)
    examples = examples_of(model, rng)
    return model, Encoded(examples, len(examples))


@pytest.mark.parametrize("scheme", ["IOB2", "none"])
@pytest.mark.parametrize("make", [tagger, crf])
def test_prediction_decodes_with_the_kernel(rng, monkeypatch, as_on_a_gpu, make, scheme):
    """Scores stay where they were computed until they are decoded, all in one launch, to the same tags."""
    model, encoded = make(rng)
    expected = predict_labels(model, encoded, scheme)
    called, fetched = as_on_a_gpu(), []
    for module in (prediction, bilstm_crf):
        monkeypatch.setattr(module, "to_numpy", lambda array, name=module.__name__: fetched.append((name, array.shape)) or array)
    assert predict_labels(model, encoded, scheme) == expected
    assert called.count("viterbi_v2") == 1
    assert [shape for name, shape in fetched if name == prediction.__name__] == [(sum(map(len, expected)),)]
    assert len({tag for tags in expected for tag in tags}) > 2, "the random model should use its tags"


def test_gradients_of_a_tagger(rng, as_on_a_gpu):
    """Loss and every gradient of a float32 step, with the kernels and without."""
    theirs, wide = tiny_pair("token")
    model = Transformer(wide.bert.config, wide.labels, "token", dtype=np.float32)
    copy_weights(theirs, model)
    batch = make_batch(rng)
    results = []
    for on_gpu in (False, True):
        called = as_on_a_gpu() if on_gpu else []
        model.store.zero_grad()
        logits, cache = model.forward(batch)
        loss, loss_cache = softmax_cross_entropy_forward(logits, batch.labels)
        dlogits, _ = softmax_cross_entropy_backward(np.float32(1), loss_cache)
        model.backward(dlogits, cache)
        results.append((float(loss), {p.name: getattr(p.grad, "values", p.grad).copy() for p in model.store}))
    (loss, grads), (kernel_loss, kernel_grads) = results
    assert {"layernorm_forward_v2", "layernorm_backward_v2", "gelu_forward", "attention_forward",
            "attention_backward_key"} <= set(called)
    np.testing.assert_allclose(kernel_loss, loss, rtol=1e-5)
    for name, grad in grads.items():
        np.testing.assert_allclose(kernel_grads[name], grad, rtol=1e-3, atol=1e-4 * max(1e-3, abs(grad).max()), err_msg=name)
