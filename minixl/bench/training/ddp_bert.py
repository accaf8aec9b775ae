"""transformers' tagger in DistributedDataParallel over gloo, with the same share of each batch as a process of minixl."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from minixl.bench.training.torch_update import update
from minixl.bench.training.transformers_bert import PaddedPieces, TransformersBert
from minixl.data.batching import token_bounds
from minixl.data.encoding import Example
from minixl.distributed.group import Group
from minixl.packing import starts_of


class Share(NamedTuple):
    """A process's part of a batch."""

    padded: PaddedPieces
    weight: float                      # of its mean loss in that of the whole batch


class DdpBert(TransformersBert):
    """See minixl/bench/training/contender.py."""

    processes: Group
    parallel: Any

    def prepare(self, batch: Sequence[Example]) -> Any:
        """Pad this process's sentences; parts have about equal numbers of word pieces."""
        ordered = sorted(batch, key=lambda example: len(example.input_ids))
        bounds = token_bounds(starts_of(len(example.input_ids) for example in ordered), self.processes.size)
        own = ordered[bounds[self.processes.rank]:bounds[self.processes.rank + 1]]
        words = [int((np.asarray(example.labels) >= 0).sum()) for example in batch]
        own_words = sum(int((np.asarray(example.labels) >= 0).sum()) for example in own)
        return Share(super().prepare(own), own_words / sum(words))

    def step(self, prepared: Any) -> float:
        """Forward with dropout, backward with the mean of the gradients over the processes, clip, update."""
        self.model.train()
        loss = self.parallel(**prepared.padded.inputs, labels=prepared.padded.labels).loss
        return update(loss * (prepared.weight * self.processes.size), self.trained, self.optimizer, self.clip)

    def loss(self, prepared: Any) -> float:
        """Cross-entropy of the whole batch without dropout."""
        return self.processes.add(prepared.weight * super().loss(prepared.padded))[0]


def join(contender: DdpBert | None, world: Group, processes: Group, count: int, meeting: Path) -> None:
    """Make the model of the first `count` processes parallel; collective.  meeting: the file by which all find each other."""
    if world.size > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=world.rank, world_size=world.size)
    of_torch = distributed.new_group(list(range(count))) if count > 1 else None
    if contender is not None:
        contender.processes = processes
        contender.parallel = DistributedDataParallel(contender.model, process_group=of_torch) if count > 1 else contender.model


def set_threads(count: int) -> None:
    """Compute on so many threads."""
    torch.set_num_threads(count)
