"""A BERT tagger and a CRF with kernels: the arrays that ops pass to each other must be what the kernels accept."""
from dataclasses import replace

import numpy as np
import pytest

from minixl import kernels, prediction
from minixl.backend import to_numpy
from minixl.data.batching import pack
from minixl.data.encoding import Encoded
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.transformer import Transformer
from minixl.ops.crf import crf_backward, crf_forward
from minixl.ops.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minixl.ops.viterbi import viterbi
from minixl.prediction import predict_labels
from tests.models.hugging_face import copy_weights, random_examples, tiny_pair
from tests.models.test_bilstm_crf import UNTIED, examples_of, model_of

pytestmark = pytest.mark.gpu


@pytest.fixture
def launched(cuda, monkeypatch):
    """The names of the kernels that run from now on."""
    names, load = [], kernels.load
    monkeypatch.setattr(kernels, "load", lambda filename, function: names.append(function) or load(filename, function))
    return names


def test_crf_and_viterbi(rng, cuda, launched):
    """Negative log-likelihood, its gradients and the best tags, with the kernels and on the CPU."""
    starts, tags = np.array([0, 4, 4, 9]), 5
    emissions, (transitions, start, end) = rng.normal(size=(9, tags)), rng.normal(size=(3, tags, tags))
    arrays = [a.astype(np.float32) for a in (emissions, transitions, start[0], end[0])]
    gold, dy = rng.integers(0, tags, 9), rng.normal(size=3).astype(np.float32)
    results = []
    for xp in (np, cuda):
        emissions, transitions, start, end = map(xp.asarray, arrays)
        nll, cache = crf_forward(emissions, transitions, start, end, tags=xp.asarray(gold), starts=starts)
        demissions, grads = crf_backward(xp.asarray(dy), cache)
        best, _ = viterbi(emissions, starts, transitions=transitions, start=start, end=end)
        results.append([to_numpy(array) for array in (nll, demissions, *grads.values(), best)])
    assert {"crf_forward", "crf_marginals", "crf_edges", "viterbi_v2"} <= set(launched)
    for without, with_kernels in zip(*results, strict=True):
        np.testing.assert_allclose(with_kernels, without, rtol=1e-4, atol=1e-5)


def on(xp, model):
    """The same parameters on another device."""
    arguments = (model.lexicon,) if isinstance(model, BilstmCrf) else ("token",)
    copy = type(model)(model.config, model.labels, *arguments, dtype=np.float32, xp=xp)
    for parameter in model.store:
        copy.store[parameter.name].value[...] = xp.asarray(parameter.value)
    return copy


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
def test_prediction_decodes_with_the_kernel(rng, monkeypatch, cuda, launched, make, scheme):
    """Scores stay where they were computed until they are decoded, all in one launch, to the same tags."""
    model, encoded = make(rng)
    expected, there, fetched = predict_labels(model, encoded, scheme), on(cuda, model), []
    monkeypatch.setattr(prediction, "to_numpy", lambda array: fetched.append(array.shape) or to_numpy(array))
    assert predict_labels(there, encoded, scheme) == expected
    assert launched.count("viterbi_v2") == 1
    assert fetched == [(sum(map(len, expected)),)]
    assert len({tag for tags in expected for tag in tags}) > 2, "the random model should use its tags"


def test_gradients_of_a_tagger(rng, cuda, launched):
    """Loss and every gradient of a float32 step, with the kernels and on the CPU."""
    model, encoded = tagger(rng)
    results = []
    for ours in (model, on(cuda, model)):
        batch = pack(encoded.examples, ours.store.xp)
        logits, cache = ours.forward(batch)
        loss, loss_cache = softmax_cross_entropy_forward(logits, batch.labels)
        dlogits, _ = softmax_cross_entropy_backward(np.float32(1), loss_cache)
        ours.backward(dlogits, cache)
        results.append((float(loss), {p.name: to_numpy(getattr(p.grad, "values", p.grad)) for p in ours.store}))
    (loss, grads), (kernel_loss, kernel_grads) = results
    assert {"layernorm_forward_v2", "layernorm_backward_v2", "gelu_forward", "attention_forward",
            "attention_backward_key"} <= set(launched)
    np.testing.assert_allclose(kernel_loss, loss, rtol=1e-5)
    for name, grad in grads.items():
        np.testing.assert_allclose(kernel_grads[name], grad, rtol=1e-3, atol=1e-4 * max(1e-3, abs(grad).max()), err_msg=name)
