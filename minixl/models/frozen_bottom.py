"""Computes the states of an encoder's frozen bottom layers once for every example and keeps them.

Frozen layers give a sentence the same states in every epoch.  Where embeddings and layers 0 ... k-1 are frozen,

    h_k(s) = layer_{k-1}( ... layer_0(embeddings(s)))        (n, H) for a sentence s of n pieces

is computed when training first uses s; from then on every training step starts at layer k.  Evaluation reads other texts
and starts at layer 0.  With k = 0 only the embeddings are kept.  This is exact if nothing below the cut is random, so
dropout is off there (the setting model.keep_frozen).  Published code, for example AdvPicker's (Chen et al. 2021: embeddings
and layers 0-2 frozen), leaves dropout on in frozen layers as well: recipes that follow a paper exactly do not keep states.

BLAS may round a row differently depending on how many rows are multiplied together; so each example always belongs to the
same group, which is computed as one packed batch: its states do not depend on when a run was stopped and resumed.

States are kept in the computer's memory, or in a temporary file if they are too large, and moved to a GPU batch by batch.
They belong to the weights at the time of first use: frozen weights must not change afterwards.
Tests: tests/models/test_frozen_bottom.py
"""
from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minixl.backend import Array, to_numpy
from minixl.data.batching import TOKENS, Batch, length_batches, pack
from minixl.data.encoding import Example
from minixl.distributed import group as together
from minixl.distributed.batches import shared_out
from minixl.errors import UserError
from minixl.packing import starts_of
from minixl.parameters import ParameterStore


class Bottom(Protocol):
    """The interface of an encoder with frozen layers: Bert, and MlmaTagger, whose language model is all frozen."""

    store: ParameterStore

    @property
    def bottom_size(self) -> int:
        """The numbers of a piece's state, H."""

    def lowest_trainable(self) -> int:
        """Return the lowest layer that is trained; -1 if nothing below it is frozen."""

    def frozen_bottom(self, input_ids: Array, position_ids: Array, starts: np.ndarray) -> Array:
        """Return the states (T, H) below it."""


def check_frozen(encoder: Bottom) -> None:
    """Raises UserError when the embeddings are trainable: then there is nothing to keep."""
    if encoder.lowest_trainable() < 0:
        raise UserError("model.keep_frozen: expected frozen embeddings, found trainable ones, so there is nothing to keep; "
                        "freeze them, or --set model.keep_frozen=false")


class FrozenBottom:
    """States (n, H) of every example below the encoder's lowest trainable layer, in the parameters' dtype.

    Up to `memory_bytes` they are kept in memory, otherwise in an unnamed file in `folder` (None: the system's folder for
    temporary files), which disappears with the process.  Raises UserError when the embeddings are trainable, or when the
    disk is full.
    """

    def __init__(self, encoder: Bottom, examples: Sequence[Example], *, memory_bytes: int,
                 folder: str | Path | None = None) -> None:
        self.encoder, self.examples = encoder, examples
        self.layer = encoder.lowest_trainable()
        check_frozen(encoder)
        self.offsets = starts_of(len(e.input_ids) for e in examples)
        self.states = _empty((int(self.offsets[-1]), encoder.bottom_size), encoder.store.dtype, memory_bytes, folder)
        self.groups: list[list[int]] = []                              # of examples that are computed together

    def compute_in(self, groups: Sequence[Sequence[int] | np.ndarray]) -> None:
        """Set which examples are computed together, when one of them is first used: for a stream, its first epoch's batches.

        A large group is computed in parts.  Only the first call has an effect: that of the first of several streams over the
        same examples.  Without a call, the groups are the batches of prediction.
        """
        if self.groups:
            return
        self.groups = [[group[i] for i in part] for group in groups
                       for part in length_batches([self.examples[i] for i in group], TOKENS)]
        self.group_of = np.empty(len(self.examples), int)              # (N,)
        for number, group in enumerate(self.groups):
            self.group_of[group] = number
        self.computed = np.zeros(len(self.groups), bool)

    def rows(self, indices: Sequence[int] | np.ndarray, order: np.ndarray) -> np.ndarray:
        """Return a copy of the states (T, H) of examples indices[order[0]], indices[order[1]], ... one after another."""
        if self.encoder.lowest_trainable() != self.layer:
            raise ValueError(f"states were kept for layer {self.layer}, but now the lowest trainable layer is "
                             f"{self.encoder.lowest_trainable()}")
        if not self.groups:
            self.compute_in([range(len(self.examples))])
        numbers = np.asarray(indices)[order]
        self._compute([group for group in np.unique(self.group_of[numbers]).tolist() if not self.computed[group]])
        return np.concatenate([self._of(i) for i in numbers])

    def attach(self, batch: Batch, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the batch, packed from examples `indices`, with the states of its pieces."""
        return batch._replace(bottom=self.encoder.store.xp.asarray(self.rows(indices, batch.order)))

    def _of(self, index: int) -> np.ndarray:
        """Return a view (n, H) of one example's states."""
        return self.states[self.offsets[index]:self.offsets[index + 1]]

    def _compute(self, numbers: Sequence[int]) -> None:
        """Compute some groups; processes that train together share them out, and the following ones that one group is too few."""
        if numbers:
            waiting = np.flatnonzero(~self.computed)
            following = waiting[waiting > max(numbers)].tolist()
            numbers = [*numbers, *following[:-len(numbers) % together().size]]
        for states, group in shared_out(self._states, ((self.groups[number], self.groups[number]) for number in numbers)):
            order = np.argsort([len(self.examples[i].input_ids) for i in group], kind="stable")        # that of pack
            ends = np.cumsum([len(self.examples[group[i]].input_ids) for i in order])[:-1]
            for position, of_example in zip(order, np.split(states, ends), strict=True):
                self._of(group[position])[...] = of_example
        self.computed[numbers] = True

    def _states(self, group: Sequence[int]) -> np.ndarray:
        """Return the states (T, H) of a group, in the order of its packed batch."""
        batch = pack([self.examples[i] for i in group], self.encoder.store.xp)
        return to_numpy(self.encoder.frozen_bottom(batch.input_ids, batch.position_ids, batch.starts))


def _empty(shape: tuple[int, int], dtype: Any, memory_bytes: int, folder: str | Path | None) -> np.ndarray:
    """Allocate the states, in memory or in a file without a name.  Pages are not touched before they are written."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= memory_bytes:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:               # the mapping outlives the descriptor
            os.posix_fallocate(file.fileno(), 0, size)                 # a full disk fails here, not with a signal later on
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        where = folder or tempfile.gettempdir()
        raise UserError(f"model.keep_frozen: the states of the frozen layers take {size / 2**30:.1f} GiB, and a file of that size "
                        f"cannot be created in {where} ({error.strerror}); make room, or --set model.keep_frozen=false") from None
