"""What is measured, and what every contender gets: the same weights, sentences, batches and settings.

Imports only NumPy: a process that measures another engine must not load minixl's engine or its allocator setting.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.data.encoding import Example
from minixl.errors import UserError
from minixl.models.bidirectional_lm_config import LanguageModelConfig
from minixl.models.bilstm_crf_config import BilstmCrfConfig

Say = Callable[[str], None]
Examples = list[Example]
Iteration = dict[str, Examples]        # a batch from each stream of the language-adversarial method, by the name of the stream
BATCH_KINDS = {"random": "random, padded to the longest", "grouped": "grouped by length"}
TWO_LANGUAGES = ("bert-adversarial", "language-model")     # families that read a target language, too
LEVEL = "token"
MEGA_BATCH = 50                        # batches that are sorted together, as in transformers


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how many times."""

    encoder: Path | None = None                    # None: the quickstart's; bilstm-crf has none
    source: tuple[str, Path] | None = None         # None: the sample corpus
    target: tuple[str, Path] | None = None         # TWO_LANGUAGES only; None: the second language of the sample corpus
    level: str | None = None                       # bert-adversarial only: the unit its discriminator classifies; None: LEVEL
    against: str | None = None                     # a key of AGAINST
    family: str = "bert"
    batch_kinds: tuple[str, ...] = tuple(BATCH_KINDS)
    steps: int = 6                                 # batches of each kind
    repeats: int = 3                               # times each batch is timed
    batch_size: int = 32
    max_length: int = 128
    limit: int = 2000                              # sentences read
    threads: int = 2
    freeze: tuple[str, ...] | None = None          # None: bottom:3 for BERT, nothing for the BiLSTM-CRF
    seed: int = 1
    device: str = "cpu"                            # or "cuda", for bert


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One comparison."""

    start: dict[str, np.ndarray]       # initial parameters by name, the same for all engines
    frozen: list[str]                  # names of the parameters that are not trained
    settings: dict[str, Any]           # minixl's settings; only optim.*, adversary.* and model.dropout matter
    batches: dict[str, list[Any]]      # key of BATCH_KINDS -> one entry a step: Examples, or an Iteration
    predicted: dict[str, list[Examples]]  # key of BATCH_KINDS -> batches to tag
    seed: int

    def only(self, batch_kind: str) -> Work:
        """Return the work for one kind of batches."""
        return replace(self, batches={batch_kind: self.batches[batch_kind]},
                       predicted={batch_kind: self.predicted[batch_kind]})

    def read(self, batch_kind: str) -> list[Examples]:
        """Return every batch that the steps read, once each."""
        return self.batches[batch_kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class BertWork(Work):
    """`start` is the head: classifier.weight (K, H), classifier.bias (K,)."""

    encoder: Path
    operations: dict[str, float]       # key of BATCH_KINDS -> operations of a step's matrix products, mean over the batches
    device: str = "cpu"                # or "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialWork(BertWork):
    """The batches are Iterations.  Nothing is predicted: the tagger is the same as in the family bert."""

    discriminator: dict[str, np.ndarray]   # initial parameters, by minixl's names

    def read(self, batch_kind: str) -> list[Examples]:
        """Return the five batches of each iteration, each of which is padded on its own."""
        return [batch for iteration in self.batches[batch_kind] for batch in iteration.values()]


class Words(NamedTuple):
    """What the word ids stand for."""

    rows: np.ndarray               # (D,)  id -> row of the word table
    spellings: list[np.ndarray]    # D     id -> rows of the character table
    singletons: np.ndarray         # rows of the words that occur once in the text


@dataclass(frozen=True, slots=True, kw_only=True)
class BilstmCrfWork(Work):
    """`start` is every parameter.  An example's input_ids are one id for each word."""

    config: BilstmCrfConfig
    labels: list[str]
    words: Words
    lexicon: bytes                 # a pickled Lexicon; unpickling it imports minixl's engine


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelWork(Work):
    """`start` is every parameter.  The batches are Iterations, by language; an example's input_ids are rows of its word table."""

    config: LanguageModelConfig
    candidates: dict[tuple[str, str], tuple[np.ndarray, int]]      # language, direction -> ids (S,) and tries, of step 0

    def read(self, batch_kind: str) -> list[Examples]:
        """Return the batch of each language of each step, which is padded on its own."""
        return [batch for iteration in self.batches[batch_kind] for batch in iteration.values()]


def choose_batches(examples: Sequence[Example], batch_kind: str, *, batch_size: int, count: int,
                   seed: int | Sequence[int]) -> list[Examples]:
    """Choose at most `count` full batches of an epoch: the first random ones, or grouped ones spread over all lengths.

    Any random batch is representative; a grouped batch is not, so the chosen ones cover all lengths evenly.
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
    """Raise UserError if there are too few sentences for one full batch."""
    if len(examples) < options.batch_size:
        raise UserError(f"{path}: expected at least {options.batch_size} sentences for one batch, found {len(examples)}; "
                        "choose a smaller --batch-size")


def group_by_length(order: np.ndarray, lengths: Sequence[int], batch_size: int) -> np.ndarray:
    """Sort a shuffled order by length within stretches of 50 batches, or of a quarter of the data if that is less.

    As transformers' train_sampling_strategy="group_by_length" does, which also moves the longest sentence to the front.
    """
    stretch = batch_size * max(1, min(len(order) // (batch_size * 4), MEGA_BATCH))
    parts = [order[i:i + stretch] for i in range(0, len(order), stretch)]
    return np.concatenate([part[np.argsort([-lengths[i] for i in part], kind="stable")] for part in parts])


def pieces(batch: Sequence[Example]) -> int:
    """Count the word pieces of a batch, including [CLS] and [SEP]."""
    return sum(len(example.input_ids) for example in batch)


def padded(batch: Sequence[Example]) -> int:
    """Count them with every sentence padded to the longest."""
    return len(batch) * max(len(example.input_ids) for example in batch)


def rates(settings: Mapping[str, Any]) -> tuple[float, float]:
    """Return the learning rates of encoder and head."""
    return settings["optim.lr"], settings["optim.head_lr"] or settings["optim.lr"]
