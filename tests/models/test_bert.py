"""The encoder on packed batches against transformers on padded ones: tiny in float64, layer by layer, and mBERT's size.

XLM-R: tests/models/test_xlm_r.py.
"""
import gc

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig as TheirConfig
from transformers import BertForTokenClassification, BertModel

from minixl.models.bert import WORD_TABLE, Bert, layer_forward
from minixl.models.transformer import Transformer
from minixl.ops.mean_pooling import mean_pooling_forward
from minixl.ops.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minixl.parameters import ParameterStore
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer
from tests.models.hugging_face import LABELS, assert_gradients, gradient, make_batch, padded, tiny_pair, unpadded
from tests.ops.checks import assert_close, packed


def hidden_states(bert: Bert, batch) -> list[np.ndarray]:
    """The embeddings and the output of every layer, (T, H) each."""
    states = [bert.embed(batch.input_ids, batch.position_ids)[0]]
    for i in range(bert.config.num_hidden_layers):
        states.append(layer_forward(states[-1], bert.store.under(f"bert.encoder.layer.{i}"), batch.starts, bert.config)[0])
    return states


def test_hidden_states_layer_by_layer(rng):
    theirs, ours = tiny_pair("token")
    batch = make_batch(rng)
    inputs = padded(batch)
    expected = theirs.bert(inputs["input_ids"], inputs["attention_mask"], output_hidden_states=True).hidden_states
    found = hidden_states(ours.bert, batch)
    for number, (state, reference) in enumerate(zip(found, expected, strict=True)):
        assert_close(state, unpadded(reference, batch), 1e-9, f"after {number} layers")
    last, _ = ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts)
    np.testing.assert_array_equal(last, found[-1])


@pytest.mark.parametrize("changed", [{}, {"layer_norm_eps": 0.1, "type_vocab_size": 1}, {"num_hidden_layers": 1}], ids=str)
def test_gradient_of_the_last_hidden_states(rng, changed):
    """The encoder alone, with a random gradient for every row, padding excluded."""
    theirs, ours = tiny_pair("token", **changed)
    batch = make_batch(rng)
    inputs = padded(batch)
    dhidden = rng.normal(size=(batch.tokens, 24))
    full = np.zeros((*inputs["input_ids"].shape, 24))
    full[inputs["attention_mask"].numpy() == 1] = dhidden
    theirs.bert(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state.backward(torch.tensor(full))
    _, cache = ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts)
    before = dhidden.copy()
    ours.bert.backward(dhidden, cache)
    np.testing.assert_array_equal(dhidden, before)
    for parameter in theirs.classifier.parameters():
        parameter.grad = torch.ones_like(parameter)                    # not the encoder's
    ours.store.accumulate("", {"classifier": {"weight": 1.0, "bias": 1.0}})
    assert_gradients(ours, theirs, 1e-9)


def test_gradients_add_up(rng):
    """Two batches one after the other: the sum of their gradients, the tables' included."""
    _, ours = tiny_pair("token")
    sums: dict[str, np.ndarray] = {name: 0 for name in ours.store.names()}
    batches = [make_batch(rng), make_batch(rng, lengths=(3, 3, 8))]
    gradients = [rng.normal(size=(batch.tokens, 24)) for batch in batches]
    for together in (False, True):
        ours.store.zero_grad()
        for batch, dhidden in zip(batches, gradients, strict=True):
            _, cache = ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts)
            ours.bert.backward(dhidden, cache)
            if not together:
                sums = {name: total + gradient(ours, name) for name, total in sums.items()}
                ours.store.zero_grad()
    for name, total in sums.items():
        assert_close(gradient(ours, name), total, 1e-12, name)


def test_only_rows_that_were_read_have_a_word_gradient(rng):
    _, ours = tiny_pair("token")
    batch = make_batch(rng, lengths=(4, 6))
    hidden, cache = ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts)
    ours.bert.backward(np.ones_like(hidden) * rng.normal(size=hidden.shape), cache)
    np.testing.assert_array_equal(ours.store[WORD_TABLE].grad.rows, np.unique(batch.input_ids))


@pytest.mark.parametrize("patterns, lowest", [
    ([], -1), (["bert.embeddings.*"], 0), (["bert.embeddings.*", "bert.encoder.layer.0.*"], 1),
    (["bert.embeddings.word_embeddings.weight"], -1), (["bert.encoder.layer.0.*", "bert.encoder.layer.1.*"], -1),
    (["bert.embeddings.*", "bert.encoder.layer.[01].*", "bert.encoder.layer.2.attention.*"], 2),
    (["bert.*"], 3)])
def test_lowest_trainable_layer_and_what_is_kept(rng, patterns, lowest):
    _, ours = tiny_pair("token")
    ours.store.freeze(patterns)
    assert ours.bert.lowest_trainable() == lowest
    batch = make_batch(rng)
    _, cache = ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts)
    assert (cache.embeddings is not None) == (lowest < 0)
    assert [layer is not None for layer in cache.layers] == [i >= lowest for i in range(3)]
    _, cache = ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts, keep=False)
    assert cache.embeddings is None and not any(cache.layers)


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_starting_above_the_frozen_layers(rng, layers):
    """From the states that enter the lowest trainable layer: the same hidden states, caches only from there upwards."""
    _, ours = tiny_pair("token")
    ours.store.freeze(["bert.embeddings.*", *(f"bert.encoder.layer.{i}.*" for i in range(layers))])
    batch = make_batch(rng)
    states = hidden_states(ours.bert, batch)
    inputs = batch.input_ids, batch.position_ids, batch.starts
    np.testing.assert_array_equal(ours.bert.frozen_bottom(*inputs), states[layers])
    for keep in (True, False):
        last, cache = ours.bert.forward(*inputs, keep=keep, bottom=states[layers])
        np.testing.assert_array_equal(last, states[-1])
        assert cache.embeddings is None
        assert [layer is not None for layer in cache.layers] == [keep and i >= layers for i in range(3)]


def test_a_wrong_bottom(rng):
    _, ours = tiny_pair("token")
    batch = make_batch(rng)
    inputs = batch.input_ids, batch.position_ids, batch.starts
    for keep in (True, False):
        with pytest.raises(ValueError, match="^bottom: the embeddings are trainable, so no layer can be skipped$"):
            ours.bert.forward(*inputs, keep=keep, bottom=np.zeros((batch.tokens, 24)))
    ours.store.freeze(["bert.embeddings.*"])
    with pytest.raises(ValueError, match=r"^bottom: expected shape \(40, 24\), got \(39, 24\)$"):
        ours.bert.forward(*inputs, bottom=np.zeros((39, 24)))


def test_dropout_replays_and_the_gradient_uses_its_masks(rng):
    """Central difference through the whole encoder with dropout on: the same generator draws the same masks."""
    _, ours = tiny_pair("token", hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2, num_hidden_layers=2)
    batch = make_batch(rng, lengths=(4, 2, 7))
    dhidden = rng.normal(size=(batch.tokens, 24))

    def forward():
        return ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts, rng=np.random.default_rng(4))

    hidden, cache = forward()
    np.testing.assert_array_equal(hidden, forward()[0])
    assert (hidden != ours.bert.forward(batch.input_ids, batch.position_ids, batch.starts)[0]).any()
    ours.bert.backward(dhidden, cache)
    direction = {p.name: 1e-2 * rng.normal(size=p.value.shape) for p in ours.store if p.name.startswith("bert.")}
    slope = sum((gradient(ours, name) * d).sum() for name, d in direction.items())

    def moved(step: float) -> float:
        for name, d in direction.items():
            ours.store[name].value += step * d
        return float((forward()[0] * dhidden).sum())

    up, down = moved(1e-4), moved(-2e-4)
    assert (up - down) / 2e-4 == pytest.approx(slope, rel=1e-6)


MBERT = {"vocab_size": 119547, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
         "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The spelling of the first checkpoints: LayerNorm.gamma and LayerNorm.beta."""
    return {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in state.items()}


def test_mbert_at_full_size(rng, tmp_path):
    """mBERT's 178 M weights (random), written by transformers under today's and the first names, float32."""
    torch.manual_seed(1)
    theirs = BertForTokenClassification(TheirConfig(**MBERT, num_labels=len(LABELS), attn_implementation="eager"))
    theirs.save_pretrained(tmp_path / "new")
    ours = Transformer(read_config(tmp_path / "new"), LABELS, "token")
    report = load_parameters(tmp_path / "new", {p.name: p.value for p in ours.store})
    assert (len(report.loaded), report.missing, report.unused) == (len(ours.store), (), ())
    check_old_names(theirs, ours, tmp_path)

    batch = make_batch(rng, lengths=(3, 17, 9, 9, 1, 30), vocabulary=119547)
    inputs = padded(batch)
    outputs = theirs(**inputs, output_hidden_states=True)
    outputs.loss.backward()
    for number, (state, reference) in enumerate(zip(hidden_states(ours.bert, batch), outputs.hidden_states, strict=True)):
        np.testing.assert_allclose(state, unpadded(reference, batch), rtol=1e-4, atol=1e-4, err_msg=f"after {number} layers")
    logits, cache = ours.forward(batch)
    loss, loss_cache = softmax_cross_entropy_forward(logits, batch.labels)
    assert float(loss) == pytest.approx(outputs.loss.item(), rel=1e-5)
    ours.backward(softmax_cross_entropy_backward(np.float32(1), loss_cache)[0], cache)
    assert_gradients(ours, theirs, 1e-4)
    del theirs, ours, cache, outputs
    gc.collect()


def check_old_names(theirs, ours: Transformer, tmp_path) -> None:
    """The same file under the first names fills the same buffers with the same values."""
    (tmp_path / "old").mkdir()
    save_file(old_names(theirs.state_dict()), tmp_path / "old" / "model.safetensors", {"format": "pt"})
    spot = {p.name: p.value[..., :2].copy() for p in ours.store}
    for parameter in ours.store:
        parameter.value[...] = 0
    load_parameters(tmp_path / "old", {p.name: p.value for p in ours.store})
    (tmp_path / "old" / "model.safetensors").unlink()
    for name, value in spot.items():
        np.testing.assert_array_equal(ours.store[name].value[..., :2], value, err_msg=name)


@pytest.mark.parametrize("dtype, sharded, rtol", [(torch.float32, False, 1e-5), (torch.float32, True, 1e-5),
                                                  (torch.float16, False, 1e-5), (torch.bfloat16, True, 1e-5)], ids=str)
def test_a_folder_written_by_transformers(rng, tmp_path, dtype, sharded, rtol):
    """Stored in any dtype, in one file or in shards, it computes what transformers computes with the stored weights."""
    theirs, _ = tiny_pair("token")
    theirs.to(dtype).save_pretrained(tmp_path, **({"max_shard_size": "10KB"} if sharded else {}))
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == sharded
    ours = Transformer(read_config(tmp_path), LABELS, "token")
    load_parameters(tmp_path, {p.name: p.value for p in ours.store})
    for name, parameter in theirs.named_parameters():
        np.testing.assert_array_equal(ours.store[name].value, parameter.detach().float().numpy(), err_msg=name)
    batch = make_batch(rng)
    logits, _ = ours.forward(batch, keep=False)
    expected = unpadded(theirs.float()(**padded(batch)).logits, batch)[batch.rows]
    np.testing.assert_allclose(logits, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


SENTENCES = [
    "Angela Merkel visited Seville in 2009.", "Ok.", "Der schnelle braune Fuchs springt über den faulen Hund.",
    "¿Dónde está la biblioteca?", "La economía española creció un 2,6 % el año pasado, según el INE.", "De trein naar Utrecht.",
    "Het kabinet besloot gisteren om de belasting op energie voorlopig niet te verhogen, ondanks kritiek uit de Kamer.",
    "我喜欢在北京吃烤鸭。", "Москва — столица России.", "ประเทศไทยมีอากาศร้อน", "これは短い文です。", "a", "!", "A B C D E F G H",
    "Ankara, Türkiye'nin başkentidir.", "Helsinki on Suomen pääkaupunki ja suurin kaupunki.", "नमस्ते दुनिया", "مرحبا بالعالم",
    "Łódź to miasto w środkowej Polsce, nad rzeką Ner.", "The committee will meet again on Tuesday to discuss the budget. " * 6]


def test_multilingual_e5_small(shared):
    """A real encoder with its real tokenizer: the mean-pooled embeddings of 20 sentences are those of transformers."""
    from transformers import AutoTokenizer
    folder = shared / "models" / "e5-small"
    theirs = BertModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = theirs(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    expected = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    config, tokenizer = read_config(folder), Tokenizer(folder)
    store = ParameterStore(Bert.shapes(config), tables=[WORD_TABLE])
    load_parameters(folder, {p.name: p.value for p in store})
    ids = [np.array([tokenizer.cls_id, *pieces, tokenizer.sep_id]) for pieces, _ in tokenizer.encode_texts(SENTENCES)]
    for ours, row, kept in zip(ids, inputs["input_ids"], inputs["attention_mask"], strict=True):
        np.testing.assert_array_equal(ours, row[kept == 1])
    starts = packed([len(one) for one in ids])
    positions = np.concatenate([np.arange(len(one)) for one in ids])
    last, _ = Bert(config, store).forward(np.concatenate(ids), positions, starts, keep=False)
    found, _ = mean_pooling_forward(last, starts)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
