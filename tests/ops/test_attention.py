"""attention on packed sentences: the checks of every op with and without dropout, and a reference with nested loops."""
from math import exp, sqrt

import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import attention
from minixl.ops.attention import VISIBLE, attention_backward, attention_forward, equal_length_groups
from tests.ops.checks import CHECKS, Case, assert_close, packed

P = 0.25
# lengths, heads, head size, dropout, which words are visible
SHAPES = [((1,), 1, 1, False, "all"), ((1, 1, 3, 3, 3, 7), 2, 5, False, "all"), ((4, 1, 4, 0, 2, 2), 3, 4, False, "all"),
          ((6, 2), 12, 64, False, "all"), ((1, 2, 2, 5), 2, 3, True, "all"), ((1, 4, 4, 0, 7), 2, 5, False, "before"),
          ((1, 4, 4, 0, 7), 2, 5, False, "after"), ((3, 3, 5), 2, 3, True, "before"), ((3, 3, 5), 2, 3, True, "after")]


def mask_size(lengths, heads: int) -> int:
    return sum(heads * length * length for length in lengths)


def by_sentence(query, key, value, lengths, heads: int, mask=None, visible="all"):
    """The textbook formula, one sentence at a time, in PyTorch."""
    contexts, used = [], 0
    for q, k, v in zip(query.split(list(lengths)), key.split(list(lengths)), value.split(list(lengths)), strict=True):
        q, k, v = (part.reshape(len(part), heads, query.shape[1] // heads).transpose(0, 1) for part in (q, k, v))
        scores = q @ k.transpose(1, 2) / sqrt(q.shape[-1])                                        # (A, l, l)
        seen = torch.ones(scores.shape, dtype=torch.bool)
        seen = seen if visible == "all" else seen.tril() if visible == "before" else seen.triu()
        probs = torch.softmax(scores.masked_fill(~seen, float("-inf")), -1)
        if mask is not None:
            kept = torch.tensor(mask[used:used + probs.numel()]).reshape(probs.shape)
            used += probs.numel()
            probs = probs * kept / (1 - P)
        contexts.append((probs @ v).transpose(0, 1).reshape(q.shape[1], query.shape[1]))
    return torch.cat(contexts)


def case(module, rng, shape) -> Case:
    lengths, heads, head_size, dropped, visible = shape
    arrays = {name: rng.normal(size=(sum(lengths), heads * head_size)) for name in ("query", "key", "value")}
    fixed = {"starts": packed(lengths), "heads": heads, "visible": visible}
    mask = None
    if dropped:
        mask = rng.random(mask_size(lengths, heads)) >= P
        fixed |= {"dropout": P, "mask": mask}
    return Case(module.attention_forward, module.attention_backward, arrays,
                lambda query, key, value: by_sentence(query, key, value, lengths, heads, mask, visible), fixed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(attention, rng, shape), xp, rng)


def test_by_loops(xp, rng):
    lengths, heads, size = (3, 1, 4), 2, 3
    starts = packed(lengths)
    query, key, value = rng.normal(size=(3, sum(lengths), heads * size))
    expected = np.zeros_like(query)
    for first, last in zip(starts[:-1], starts[1:], strict=True):
        for head in range(heads):
            columns = range(head * size, (head + 1) * size)
            for i in range(first, last):
                weights = [exp(sum(query[i, c] * key[j, c] for c in columns) / sqrt(size)) for j in range(first, last)]
                for c in columns:
                    expected[i, c] = sum(w * value[j, c] for w, j in zip(weights, range(first, last), strict=True)) / sum(weights)
    context, _ = attention_forward(*map(xp.asarray, (query, key, value)), starts, heads=heads)
    assert_close(to_numpy(context), expected, 1e-12)


def test_sentences_do_not_see_each_other(xp, rng):
    query, key, value = rng.normal(size=(3, 7, 6))
    starts = packed((3, 4))
    before, _ = attention_forward(*map(xp.asarray, (query, key, value)), starts, heads=2)
    for array in (query, key, value):
        array[3:] = rng.normal(size=(4, 6))
    after, _ = attention_forward(*map(xp.asarray, (query, key, value)), starts, heads=2)
    np.testing.assert_array_equal(to_numpy(after)[:3], to_numpy(before)[:3])
    assert (to_numpy(after)[3:] != to_numpy(before)[3:]).all()


@pytest.mark.parametrize("visible, changed", [("before", slice(5, 7)), ("after", slice(3, 5))])
def test_hidden_words_change_nothing(xp, rng, visible, changed):
    """The context of the words that do not see the changed ones keeps every bit; theirs changes."""
    query, key, value = rng.normal(size=(3, 7, 6))
    starts = packed((3, 4))
    before, _ = attention_forward(*map(xp.asarray, (query, key, value)), starts, heads=2, visible=visible)
    for array in (query, key, value):
        array[changed] = rng.normal(size=array[changed].shape)
    after, _ = attention_forward(*map(xp.asarray, (query, key, value)), starts, heads=2, visible=visible)
    same = (to_numpy(after) == to_numpy(before)).all(axis=1)
    assert same.tolist() == [i < 3 or not changed.start <= i < changed.stop for i in range(7)]


def test_an_unknown_side_is_named():
    x = np.zeros((2, 2))
    with pytest.raises(ValueError, match="^visible: expected one of all, before, after, got 'left'$"):
        attention_forward(x, x, x, packed((2,)), heads=1, visible="left")


def test_large_scores_do_not_overflow(xp):
    q = xp.asarray([[1e3, 0], [0, 1e3]], dtype=xp.float32)
    context, _ = attention_forward(q, q, q, packed((2,)), heads=1)
    np.testing.assert_allclose(to_numpy(context), to_numpy(q), rtol=1e-6)


@pytest.mark.parametrize("visible", VISIBLE)
def test_scores_of_any_size(xp, rng, visible):
    """In float32, with heads and sentences of small and of large scores side by side: as exact as in float64."""
    lengths, heads = (3, 3, 3, 5), 2
    q, k, v = rng.normal(size=(3, sum(lengths), 8))
    q[:, :4] *= 60
    q[3:6] *= 20
    q[6] = k[6] = 1e-3
    exact, _ = attention_forward(*(array.astype(np.float32).astype(float) for array in (q, k, v)), packed(lengths), heads=heads,
                                 visible=visible)
    ours, _ = attention_forward(*(xp.asarray(array, xp.float32) for array in (q, k, v)), packed(lengths), heads=heads,
                                visible=visible)
    np.testing.assert_allclose(to_numpy(ours), exact, atol=3e-5 * np.abs(v).max())


def test_a_batch_of_many_groups_equals_its_sentences_one_by_one(rng):
    """More scores than a group may have, so that neighbours of equal length are split, and more groups than threads."""
    lengths, heads = [1, 1, *[40] * 45, *range(2, 30), 200], 4
    starts = packed(lengths)
    assert len([g for g in equal_length_groups(starts, heads) if g.length == 40]) > 1
    query, key, value, dcontext = rng.normal(size=(4, sum(lengths), 8))
    context, cache = attention_forward(query, key, value, starts, heads=heads)
    dquery, grads = attention_backward(dcontext, cache)
    for first, last in zip(starts[:-1], starts[1:], strict=True):
        rows = slice(first, last)
        alone, alone_cache = attention_forward(query[rows], key[rows], value[rows], packed((last - first,)), heads=heads)
        dalone, alone_grads = attention_backward(dcontext[rows], alone_cache)
        for ours, expected in ((context, alone), (dquery, dalone), (grads["key"], alone_grads["key"]),
                               (grads["value"], alone_grads["value"])):
            assert_close(ours[rows], expected, 1e-11)


@pytest.mark.parametrize("lengths", [(), (0,), (3,), (2, 2, 2), (1, 0, 0, 1, 5, 5, 2), (600, 600)], ids=str)
def test_groups_cover_every_row_and_score_once(lengths):
    groups = equal_length_groups(packed(lengths), 3)
    rows = [row for group in groups for row in range(group.rows.start, group.rows.stop)]
    assert rows == list(range(sum(lengths)))
    assert [g.scores.start for g in groups] == [0, *(g.scores.stop for g in groups)][:len(groups)]
    assert (groups[-1].scores.stop if groups else 0) == mask_size(lengths, 3)


def test_dropout_replays_and_has_its_rate(xp, rng):
    lengths = (5, 5, 30)
    starts = packed(lengths)
    query, key, value, dcontext = (xp.asarray(a) for a in rng.normal(size=(4, sum(lengths), 8)))
    settings = {"heads": 2, "dropout": 0.4}
    first, cache = attention_forward(query, key, value, starts, rng=xp.random.default_rng(5), **settings)
    again, replayed = attention_forward(query, key, value, starts, mask=cache.mask, **settings)
    np.testing.assert_array_equal(to_numpy(again), to_numpy(first))
    gradients = [_flat(attention_backward(dcontext, one)) for one in (replayed, cache)]
    for ours, expected in zip(*gradients, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert cache.mask.shape == (mask_size(lengths, 2),)
    assert abs(to_numpy(cache.mask).mean() - 0.6) < 5 * np.sqrt(0.24 / cache.mask.size)
    evaluation, cache = attention_forward(query, key, value, starts, **settings)
    assert cache.mask is None
    np.testing.assert_array_equal(to_numpy(evaluation), to_numpy(attention_forward(query, key, value, starts, heads=2)[0]))


def _flat(result):
    return [to_numpy(result[0]), to_numpy(result[1]["key"]), to_numpy(result[1]["value"])]


def test_no_sentences(xp):
    empty = xp.zeros((0, 4))
    context, cache = attention_forward(empty, empty, empty, packed(()), heads=2)
    dquery, grads = attention_backward(context, cache)
    assert context.shape == dquery.shape == grads["key"].shape == grads["value"].shape == (0, 4)
