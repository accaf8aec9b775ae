"""What is measured, and what every contender is given: the same weights, sentences, batches and settings.

Only NumPy is imported here: a process that measures another engine must not hold minixl's, nor its allocator setting.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.data.encoding import Example
from minixl.errors import UserError
from minixl.models.bilstm_crf_config import BilstmCrfConfig

Say = Callable[[str], None]
Examples = list[Example]
Iteration = dict[str, Examples]        # a batch from each stream of a language-adversarial method, by the stream's name
BATCH_KINDS = {"random": "random, padded to the longest", "grouped": "grouped by length"}
LEVEL = "token"
MEGA_BATCH = 50                        # batches that are sorted together, as transformers does


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how often."""

    encoder: Path | None = None                    # None: the quickstart's; the family bilstm-crf has none
    source: tuple[str, Path] | None = None         # None: the sample corpus
    target: tuple[str, Path] | None = None         # of bert-adversarial; None: the sample corpus's second language
    level: str | None = None                       # of bert-adversarial: what its discriminator judges; None: LEVEL
    against: str | None = None                     # a key of AGAINST
    family: str = "bert"
    batch_kinds: tuple[str, ...] = tuple(BATCH_KINDS)
    steps: int = 6                                 # batches of each kind
    repeats: int = 3                               # how often each is timed
    batch_size: int = 32
    max_length: int = 128
    limit: int = 2000                              # sentences read
    threads: int = 2
    freeze: tuple[str, ...] | None = None          # None: bottom:3 of a BERT, nothing of a BiLSTM-CRF
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One comparison."""

    start: dict[str, np.ndarray]       # parameters by name, the same for all
    frozen: list[str]                  # parameters that are not trained, by name
    settings: dict[str, Any]           # minixl's settings, of which optim.*, adversary.* and model.dropout matter
    batches: dict[str, list[Any]]      # what each step is trained on, by the keys of BATCH_KINDS: Examples, or an Iteration
    predicted: dict[str, list[Examples]]  # tagged, likewise
    seed: int

    def only(self, batch_kind: str) -> Work:
        """The work of one kind of batches."""
        return replace(self, batches={batch_kind: self.batches[batch_kind]},
                       predicted={batch_kind: self.predicted[batch_kind]})

    def read(self, batch_kind: str) -> list[Examples]:
        """Every batch that the steps on a kind of batches read, once each."""
        return self.batches[batch_kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class BertWork(Work):
    """`start` is the head: classifier.weight (K, H), classifier.bias (K,)."""

    encoder: Path
    operations: dict[str, float]       # of the matrix products of a step, mean over the batches, by the keys of BATCH_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialWork(BertWork):
    """Batches are Iterations; nothing is predicted: its tagger is that of the family bert."""

    discriminator: dict[str, np.ndarray]   # its start, by minixl's names

    def read(self, batch_kind: str) -> list[Examples]:
        """Five batches an iteration; each is padded on its own."""
        return [batch for iteration in self.batches[batch_kind] for batch in iteration.values()]


class Words(NamedTuple):
    """What the ids of words stand for."""

    rows: np.ndarray               # (D,)  the row of the word table, by id
    spellings: list[np.ndarray]    # D     the rows of the character table, by id
    singletons: np.ndarray         # rows that the text looks up once in all


@dataclass(frozen=True, slots=True, kw_only=True)
class BilstmCrfWork(Work):
    """`start` is every parameter.  An example's input_ids are one id for each word."""

    config: BilstmCrfConfig
    labels: list[str]
    words: Words
    lexicon: bytes                 # a pickled Lexicon; loading it loads minixl's engine


def choose_batches(examples: Sequence[Example], batch_kind: str, *, batch_size: int, count: int,
                   seed: int | Sequence[int]) -> list[Examples]:
    """At most `count` full batches of an epoch: the first random ones, or length-grouped ones spread over all lengths.

    A random batch stands for any other; a grouped one does not, so every length has its share among those chosen.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    order = rng.permutation(len(examples))
    if batch_kind == "grouped":
        order = group_by_length(order, [len(e.input_ids) for e in examples], batch_size)
    full = len(examples) // batch_size
    epoch = [[examples[i] for i in order[k * batch_size:(k + 1) * batch_size]] for k in range(full)]
    if batch_kind == "grouped" and count < full:
        epoch.sort(key=pieces)
        return [epoch[int((i + 0.5) / count * full)] for i in range(count)]
    return epoch[:count]


def check_enough(examples: Sequence[Example], options: Options, path: Path) -> None:
    """Raises UserError when there is not even one full batch."""
    if len(examples) < options.batch_size:
        raise UserError(f"{path}: expected at least {options.batch_size} sentences for one batch, found {len(examples)}; "
                        "a smaller --batch-size needs fewer")


def group_by_length(order: np.ndarray, lengths: Sequence[int], batch_size: int) -> np.ndarray:
    """A shuffled order, sorted by length within stretches of 50 batches, or a quarter of the data if that is less.

    It is transformers' train_sampling_strategy="group_by_length", which also moves the longest sentence to the front.
    """
    stretch = batch_size * max(1, min(len(order) // (batch_size * 4), MEGA_BATCH))
    parts = [order[i:i + stretch] for i in range(0, len(order), stretch)]
    return np.concatenate([part[np.argsort([-lengths[i] for i in part], kind="stable")] for part in parts])


def pieces(batch: Sequence[Example]) -> int:
    """Word pieces of a batch, [CLS] and [SEP] included."""
    return sum(len(example.input_ids) for example in batch)


def padded(batch: Sequence[Example]) -> int:
    """The same with every sentence padded to the longest."""
    return len(batch) * max(len(example.input_ids) for example in batch)


def rates(settings: Mapping[str, Any]) -> tuple[float, float]:
    """Learning rates of encoder and head."""
    return settings["optim.lr"], settings["optim.head_lr"] or settings["optim.lr"]
