"""Packed batches, and the resumable stream that makes them.

The sentences of a batch lie one after another, sorted by length, without padding: every op but attention sees only tokens,
and attention computes neighbours of equal length together.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from minixl.backend import Array, copy_together
from minixl.data.encoding import Example
from minixl.distributed.batches import each_batch, shared_out
from minixl.packing import starts_of

Result = TypeVar("Result")

TOKENS = 1024      # word pieces per prediction batch: the fastest of 256 ... 4096 on two cores (docs/performance.md)
ON_GPU = 8         # times as many on a GPU, which otherwise waits for Python to launch its kernels (docs/gpu.md)
LEAST, SHARES = 256, 4     # little text: about 4 batches, but of 256 pieces at least, since smaller products are slower


class OnHost(NamedTuple):
    """What the CPU also needs to know of a batch: without a copy here, it would have to wait for the GPU."""

    input_ids: np.ndarray
    rows: np.ndarray
    labels: np.ndarray


class Batch(NamedTuple):
    """B examples in one packed batch of T pieces, W of them scored."""

    input_ids: Array      # (T,)
    position_ids: Array   # (T,)    0, 1, ... within each example
    starts: np.ndarray    # (B+1,)  on the CPU: where each example begins
    rows: Array           # (W,)    packed rows of the scored words; empty for a classifier
    labels: Array         # (W,)    or (B,) for a classifier; negative: not scored
    order: np.ndarray     # (B,)    position i holds the example order[i] of those packed
    host: OnHost          # the arrays of these names, on the CPU
    bottom: Array | None = None   # (T, H)  input of the lowest trainable layer, if it was kept

    @property
    def tokens(self) -> int:
        """T, the number of word pieces."""
        return int(self.starts[-1])


def pack(examples: Sequence[Example], xp: Any = np) -> Batch:
    """Pack examples into one batch, shortest first."""
    order = np.argsort([len(e.input_ids) for e in examples], kind="stable")
    examples = [examples[i] for i in order]
    lengths = np.array([len(e.input_ids) for e in examples])
    starts = starts_of(lengths)
    positions = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    rows = np.concatenate([e.rows + start for e, start in zip(examples, starts[:-1], strict=True)])
    labels = np.concatenate([e.labels for e in examples])
    ids = np.concatenate([e.input_ids for e in examples])
    on_device = copy_together(xp, ids, positions, rows, labels)
    return Batch(on_device[0], on_device[1], starts, on_device[2], on_device[3], order, OnHost(ids, rows, labels))


def split(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into consecutive parts of about equal numbers of examples, for gradient accumulation.

    There are never more parts than examples, so an empty batch has none.
    """
    count = min(parts, len(batch.order))
    if count == 1:
        return [batch]
    return _cut(batch, np.linspace(0, len(batch.order), count + 1).astype(int))


def split_by_tokens(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into exactly `parts` consecutive parts of about equal numbers of tokens, for workers; some may be empty."""
    return _cut(batch, token_bounds(batch.starts, parts))


def token_bounds(starts: np.ndarray, parts: int) -> np.ndarray:
    """starts (B+1,) -> (parts+1,), rising from 0 to B: where consecutive parts of about equal numbers of tokens begin."""
    ideal = np.arange(parts + 1) * starts[-1] / parts                  # where parts of exactly the same size would begin
    bounds = np.abs(starts[:, None] - ideal).argmin(axis=0)            # the examples that begin nearest to these places
    bounds[-1] = len(starts) - 1                                       # with any empty ones at the end
    return bounds


def _cut(batch: Batch, bounds: np.ndarray) -> list[Batch]:
    """bounds (P+1,), rising from 0 to B -> P parts; part p holds the examples bounds[p] ... bounds[p+1]-1."""
    classifier, host, pieces = not len(batch.rows), batch.host, []
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        begin, end = batch.starts[first], batch.starts[last]
        words = slice(*np.searchsorted(host.rows, [begin, end]))
        labels = slice(first, last) if classifier else words
        pieces.append(Batch(batch.input_ids[begin:end], batch.position_ids[begin:end], batch.starts[first:last + 1] - begin,
                            batch.rows[words] - begin, batch.labels[labels], batch.order[first:last],
                            OnHost(host.input_ids[begin:end], host.rows[words] - begin, host.labels[labels]),
                            None if batch.bottom is None else batch.bottom[begin:end]))
    return pieces


def length_batches(examples: Sequence[Example], tokens: int) -> Iterator[list[int]]:
    """Yield indices of examples of similar length, about `tokens` pieces per batch: for prediction, where any order will do."""
    batch: list[int] = []
    size = 0
    for index in np.argsort([len(e.input_ids) for e in examples], kind="stable").tolist():
        length = len(examples[index].input_ids)
        if batch and size + length > tokens:
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += length
    if batch:
        yield batch


def prediction_batches(examples: Sequence[Example], tokens: int, xp: Any = np,
                       progress: Callable[[int], None] | None = None) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yield batches of about `tokens` pieces, every example once, and the indices (B,) of its examples, in the batch's order.

    progress: called with the number of pieces of a batch when the next one is requested.
    """
    for indices in length_batches(examples, tokens):
        batch = pack([examples[i] for i in indices], xp)
        yield batch, np.array(indices)[batch.order]
        if progress:
            progress(batch.tokens)


def batch_results(compute: Callable[[Batch], Result], examples: Sequence[Example], tokens: int, xp: Any = np,
                  progress: Callable[[int], None] | None = None, *,
                  shared: bool = False) -> Iterator[tuple[Batch, np.ndarray, Result]]:
    """Yield the batches of prediction_batches, the indices of their examples, and compute(batch), in order.

    On a CPU each batch is computed on one thread, as many at a time as there are threads; little text gives smaller batches, so
    that every thread has some.  Neither the batches nor their results depend on the number of threads.  On a GPU batches have
    ON_GPU times as many pieces.  progress: called with the number of pieces of a batch when the next one is requested.  shared: the
    processes of a group, which all call this, share the batches out.
    """
    if xp is np:
        tokens = min(tokens, max(LEAST, -(-sum(len(example.input_ids) for example in examples) // SHARES)))
    else:
        tokens *= ON_GPU
    batches = ((item[0], item) for item in prediction_batches(examples, tokens, xp))
    for result, (batch, indices) in (shared_out if shared else each_batch)(compute, batches, threads=xp is np):
        yield batch, indices, result
        if progress:
            progress(batch.tokens)


class KeptStates(Protocol):
    """The interface of minixl.models.frozen_bottom.FrozenBottom, which keeps states for a stream's examples."""

    examples: Sequence[Example]

    def compute_in(self, groups: Sequence[Sequence[int] | np.ndarray]) -> None:
        """Set which examples are computed together."""

    def attach(self, batch: Batch, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the batch, packed from examples `indices`, with their states."""


class Stream:
    """Endless shuffled batches: every example once per epoch, each in a new order; its state continues it exactly.

    bottom: kept for the same examples; every batch then contains its states below the lowest trainable layer.
    """

    def __init__(self, examples: Sequence[Example], batch_size: int, seed: int | Sequence[int], xp: Any = np,
                 bottom: KeptStates | None = None) -> None:
        if not examples:
            raise ValueError("stream: no examples")
        if bottom is not None and len(bottom.examples) != len(examples):
            raise ValueError(f"stream: {len(examples)} examples, but states are kept for {len(bottom.examples)}")
        self.examples, self.batch_size, self.xp, self.bottom = examples, batch_size, xp, bottom
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.order = self.rng.permutation(len(examples))
        self.position = 0
        self.epoch = 0
        if bottom is not None:
            bottom.compute_in([self.order[i:i + batch_size] for i in range(0, len(examples), batch_size)])

    @property
    def batches_per_epoch(self) -> int:
        """Batches per epoch; the last may be smaller."""
        return -(-len(self.examples) // self.batch_size)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Batch:
        batch, indices = self._next()
        return batch if self.bottom is None else self.bottom.attach(batch, indices)

    def next_share(self, worker: int, workers: int) -> tuple[Batch, Batch]:
        """Return one worker's part of the next batch, and the whole batch, without kept states, for model.loss_share.

        Every worker has a stream with the same examples and seed.  Together their parts are the batch; a part may be empty.
        The stream ends up in the same state as after next(stream).
        """
        if not 0 <= worker < workers:
            raise ValueError(f"worker: expected 0 to {workers - 1}, got {worker}")
        whole, indices = self._next()
        part = split_by_tokens(whole, workers)[worker]
        return (part if self.bottom is None or not part.tokens else self.bottom.attach(part, indices)), whole

    def _next(self) -> tuple[Batch, np.ndarray]:
        """Return the next batch, without kept states, and the indices of the examples it was packed from."""
        if self.position >= len(self.examples):
            self.order, self.position, self.epoch = self.rng.permutation(len(self.examples)), 0, self.epoch + 1
        indices = self.order[self.position:self.position + self.batch_size]
        self.position += len(indices)
        return pack([self.examples[i] for i in indices], self.xp), indices

    def state_dict(self) -> dict[str, Any]:
        """Return position, order and generator as JSON values."""
        return {"rng": self.rng.bit_generator.state, "order": self.order.tolist(), "position": self.position,
                "epoch": self.epoch, "examples": len(self.examples)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a stream's state.  Raises ValueError when that stream had other data."""
        if state["examples"] != len(self.examples):
            raise ValueError(f"the checkpoint was made with {state['examples']} training examples, but now there are "
                             f"{len(self.examples)}")
        self.rng.bit_generator.state = state["rng"]
        self.order = np.array(state["order"])
        self.position, self.epoch = state["position"], state["epoch"]
