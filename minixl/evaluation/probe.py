"""How well a new language discriminator tells two languages apart on a frozen encoder.

AdvPicker (Chen et al. 2021, arXiv:2106.02300), table 3: the nearer to chance, the less the hidden states depend on the
language.  Keung et al. 2019 train a single affine unit on a sentence's mean hidden state (level "sentence"), Chen
et al. two layers on every piece (level "token"): minixl/models/discriminators.py.

    texts      trained on the training files and scored on the test files, as in the table; without test files, trained on
               one half of the texts and scored on the other
    training   equally many texts of both languages, at most PIECES word pieces of each; loss = mean BCE of the source + mean
               BCE of the target.  AdamW, STEPS updates on BATCH texts of each language, learning rate LEARNING_RATES falling
               linearly to 0, weight decay WEIGHT_DECAY.  States are standardised with the mean and deviation of the training
               states: the same family of functions, but training does not depend on the scale of an encoder
    accuracy   mean of the two languages' recalls on at most PIECES pieces of each, so that chance is 1/2 whatever the lengths

The authors' code uses the learning rate 5e-3 for tokens, on states that are not standardised.  On standardised states of
planted languages it ends up to 3 points further from the best possible accuracy than 1e-3, and with little text it favours
one language.

With halves, text i of both languages is in the same half if there are equally many: a translation in the other half, with the
other label, would let a discriminator that memorises texts score below chance.  Checked in tests/evaluation/test_probe.py.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.data.encoding import Encoded
from minixl.evaluation.translations import hidden_batches
from minixl.models.bert import Bert
from minixl.models.discriminators import (discriminator_backward, discriminator_forward, discriminator_shapes,
                                          initialise_discriminator)
from minixl.ops.binary_cross_entropy import binary_cross_entropy_backward, binary_cross_entropy_forward
from minixl.ops.mean_pooling import mean_pooling_forward
from minixl.optim import AdamW, decay_groups, linear_schedule
from minixl.packing import starts_of
from minixl.parameters import ParameterStore

LEVELS = ("sentence", "token")
CHANCE = 0.5
LEAST = 4                 # texts of each language: two to train on, two to score
PIECES = 60_000           # limit on the pieces of each file whose states are kept
WIDTH = 500               # hidden units of the token discriminator (Chen et al. 2021)
STEPS, BATCH = 300, 16    # updates, and texts of each language per update
LEARNING_RATES = {"sentence": 5e-3, "token": 1e-3}     # closest to the best possible accuracy on planted languages
WEIGHT_DECAY = 1e-2


class States(NamedTuple):
    """Hidden states of the texts of a language, one text after another."""

    hidden: Array         # (T, H)
    starts: np.ndarray    # (N+1,)  on the CPU


Sides = tuple[States, States]     # source and target


class ProbeResult(NamedTuple):
    """Scores on texts that the discriminator has not seen."""

    accuracy: float           # 0..1, mean of the two recalls
    chance: float             # the score of guessing
    recall_source: float      # 0..1: how much of the source language is recognised
    recall_target: float
    trained: int              # training texts of each language
    tested: int               # test texts of both languages together, or pieces at level "token"


def sample(source: Encoded, target: Encoded, *, seed: int = 0, pieces: int = PIECES,
           equal: bool = True) -> tuple[Encoded, Encoded]:
    """Sample as many texts of each language as fit into `pieces` pieces, but at least 4, in random order.

    equal: the same number of both; in two lists of equal length, pairs stay together.  Raises ValueError for fewer than 4.
    """
    sides = source, target
    most = min(side.sources for side in sides)
    if most < LEAST:
        raise ValueError(f"probe: expected at least {LEAST} texts of each language, got {most}")
    rng = np.random.default_rng([seed, 0])
    order = rng.permutation(source.sources)
    orders = order, order if source.sources == target.sources else rng.permutation(target.sources)
    counts = [max(LEAST, int(np.searchsorted(np.cumsum(_lengths(side)[by]), pieces, side="right")))
              for side, by in zip(sides, orders, strict=True)]
    if equal:
        counts = [min(counts)] * 2
    first, second = (_picked(side, by[:count].tolist()) for side, by, count in zip(sides, orders, counts, strict=True))
    return first, second


def states_of(bert: Bert, encoded: Encoded, *, progress: Callable[[int], None] | None = None) -> States:
    """Compute the states of all texts, with a text's windows side by side.  progress: called with the pieces of each batch."""
    xp = bert.store.xp
    begins = starts_of(len(e.input_ids) for e in encoded.examples)
    out: Any = None
    for indices, hidden, starts in hidden_batches(bert, encoded.examples, progress=progress):
        out = xp.empty((begins[-1], hidden.shape[1]), hidden.dtype) if out is None else out
        for i, first, last in zip(indices, starts[:-1], starts[1:], strict=True):
            out[begins[i]:begins[i + 1]] = hidden[first:last]
    return States(out, starts_of(_lengths(encoded)))


def halves(source: States, target: States) -> tuple[Sides, Sides]:
    """Return the first half of the texts of each language, to train on, and the others, to test on; their order is random."""
    half = (min(len(source.starts), len(target.starts)) - 1) // 2
    return ((_texts(source, range(half)), _texts(target, range(half))),
            (_texts(source, range(half, len(source.starts) - 1)), _texts(target, range(half, len(target.starts) - 1))))


def probe_states(training: Sides, test: Sides, *, level: str, seed: int = 0) -> ProbeResult:
    """Train on the training states of source and target, and score the test states."""
    if level not in LEVELS:
        raise ValueError(f"probe: expected one of {', '.join(LEVELS)}, got {level!r}")
    if level == "sentence":
        training, test = ((_pooled(source), _pooled(target)) for source, target in (training, test))
    mean, deviation = _moments(training)
    params = _train([States((side.hidden - mean) / deviation, side.starts) for side in training], level, seed)
    recalls, tested = [], 0
    for side, sign in zip(test, (1, -1), strict=True):
        logits, _ = discriminator_forward((side.hidden - mean) / deviation, params, starts=side.starts, kind=level)
        recalls.append(float((sign * logits > 0).mean() + 0.5 * (logits == 0).mean()))
        tested += len(logits)
    trained = min(len(side.starts) - 1 for side in training)
    return ProbeResult(sum(recalls) / 2, CHANCE, recalls[0], recalls[1], trained, tested)


def _train(training: Sequence[States], level: str, seed: int) -> dict[str, dict[str, Array]]:
    """Return the parameters of a new discriminator after STEPS updates on source (label 1) and target (0)."""
    hidden = training[0].hidden
    rng = np.random.default_rng([seed, 1])
    store = ParameterStore(discriminator_shapes(level, hidden.shape[1], WIDTH), dtype=hidden.dtype, xp=array_module(hidden))
    initialise_discriminator(store, rng)
    groups = decay_groups(store, store.names(), LEARNING_RATES[level], WEIGHT_DECAY)
    optimizer = AdamW(store, groups, linear_schedule(STEPS, 0))
    orders = [_endless(len(side.starts) - 1, rng) for side in training]
    for _ in range(STEPS):
        for side, order, label in zip(training, orders, (1, 0), strict=True):
            batch = _texts(side, [next(order) for _ in range(min(BATCH, len(side.starts) - 1))])
            logits, cache = discriminator_forward(batch.hidden, store.under("discriminator"), starts=batch.starts, kind=level)
            _, loss_cache = binary_cross_entropy_forward(logits, store.xp.full(logits.shape, label, logits.dtype))
            dlogits, _ = binary_cross_entropy_backward(store.dtype.type(1), loss_cache)
            _, grads = discriminator_backward(dlogits, cache, need_dx=False)
            store.accumulate("discriminator", grads)
        optimizer.step()
        store.zero_grad()
    return store.under("discriminator")


def _endless(count: int, rng: np.random.Generator) -> Any:
    """Yield 0 ... count-1 endlessly, in a new random order each time."""
    while True:
        yield from rng.permutation(count).tolist()


def _lengths(encoded: Encoded) -> np.ndarray:
    """Return the number of pieces of every text (N,), over all its windows."""
    return np.bincount([e.source for e in encoded.examples], [len(e.input_ids) for e in encoded.examples],
                       encoded.sources).astype(int)


def _picked(encoded: Encoded, numbers: Sequence[int]) -> Encoded:
    """Return the texts with these numbers, in this order."""
    place = {source: i for i, source in enumerate(numbers)}
    examples = sorted((replace(e, source=place[e.source]) for e in encoded.examples if e.source in place),
                      key=lambda e: e.source)                                          # stable: windows stay in order
    return Encoded(examples, len(numbers), pieces=sum(len(e.input_ids) for e in examples))


def _pooled(states: States) -> States:
    """Return the mean state of every text, as texts of one piece."""
    means, _ = mean_pooling_forward(states.hidden, states.starts)
    return States(means, np.arange(len(means) + 1))


def _texts(states: States, numbers: Sequence[int]) -> States:
    """Return the texts with these numbers, in this order."""
    picked = np.asarray(numbers)
    lengths = np.diff(states.starts)[picked]
    starts = starts_of(lengths)
    rows = np.arange(starts[-1]) + np.repeat(states.starts[picked] - starts[:-1], lengths)
    return States(states.hidden[array_module(states.hidden).asarray(rows)], starts)


def _moments(sides: Sequence[States]) -> tuple[Array, Array]:
    """Return mean and standard deviation (H,) over the rows, with equal weight per language; 1 for a constant column."""
    xp = array_module(sides[0].hidden)
    mean = sum(side.hidden.mean(axis=0) for side in sides) / len(sides)
    variance = sum(((side.hidden - mean) ** 2).mean(axis=0) for side in sides) / len(sides)
    return mean, xp.sqrt(xp.where(variance > 1e-12, variance, 1))
