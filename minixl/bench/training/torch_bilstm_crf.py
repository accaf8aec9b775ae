"""The BiLSTM-CRF tagger as usually written with PyTorch: Embedding, LSTM over packed sequences, Linear, pytorch-crf.

    word    = [word embedding,  last states of a bidirectional LSTM over its characters]
    hidden  = bidirectional LSTM over the words
    scores  = classifier(tanh(dense(hidden)))          dropout before and after the LSTM over the words
    loss    = negative log-likelihood of a CRF, mean over the sentences

Lample et al. 2016, figure 2 and section 4.  Its parameters have minixl's names.  TorchBilstmCrf runs it as a contender of
the benchmark; tests/reference/bilstm_crf.py trains it on real data.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torchcrf import CRF

from minixl.bench.training.torch_update import freeze, update
from minixl.bench.training.work import BilstmCrfWork, Examples, Words
from minixl.data.encoding import Example
from minixl.models.bilstm_crf_config import BilstmCrfConfig


class PaddedWords(NamedTuple):
    """B sentences padded to the longest, N words; their W words padded to the longest, C characters."""

    words: torch.Tensor            # (B, N) int64
    lengths: torch.Tensor          # (B,)
    chars: torch.Tensor            # (W, C) int64; W = Σ lengths, words of the batch in order
    char_lengths: torch.Tensor     # (W,)
    tags: torch.Tensor             # (B, N) int64
    mask: torch.Tensor             # (B, N) bool


class BilstmCrfModule(torch.nn.Module):
    """The network of `config` with K tags; the two directions of an LSTM have separate weights.

    In training, a word whose row is in `singletons` is replaced by the unknown word, row 0, with probability word_unknown.
    """

    def __init__(self, config: BilstmCrfConfig, tags: int, singletons: np.ndarray) -> None:
        super().__init__()
        nn = torch.nn
        self.word_embeddings = nn.Embedding(config.vocabulary_size, config.word_size)
        self.char_embeddings = nn.Embedding(config.alphabet_size, config.char_size)
        self.char_lstm = nn.LSTM(config.char_size, config.char_hidden, bidirectional=True, batch_first=True)
        self.word_lstm = nn.LSTM(config.input_size, config.word_hidden, bidirectional=True, batch_first=True)
        self.dense = nn.Linear(2 * config.word_hidden, config.dense_size)
        self.classifier = nn.Linear(config.dense_size, tags)
        self.dropout = nn.Dropout(config.dropout)
        self.crf = CRF(tags, batch_first=True)
        self.word_unknown = config.word_unknown
        self.is_singleton = torch.zeros(config.vocabulary_size, dtype=torch.bool)
        self.is_singleton[torch.from_numpy(singletons)] = True

    def rows(self, words: torch.Tensor) -> torch.Tensor:
        """words (B, N) -> rows; in training some singletons become unknown (Lample et al. 2016, section 4.1)."""
        if not self.training or not self.word_unknown:
            return words
        return words.masked_fill(self.is_singleton[words] & (torch.rand(words.shape) < self.word_unknown), 0)

    def emissions(self, batch: PaddedWords) -> torch.Tensor:
        """The scores (B, N, K) that go into the CRF."""
        spelled = pack_padded_sequence(self.char_embeddings(batch.chars), batch.char_lengths, batch_first=True,
                                       enforce_sorted=False)
        last = self.char_lstm(spelled)[1][0].transpose(0, 1).flatten(1)                # (W, 2 char_hidden)
        characters = pad_sequence(last.split(batch.lengths.tolist()), batch_first=True)
        inputs = self.dropout(torch.cat([self.word_embeddings(self.rows(batch.words)), characters], dim=-1))
        packed = pack_padded_sequence(inputs, batch.lengths, batch_first=True, enforce_sorted=False)
        hidden = pad_packed_sequence(self.word_lstm(packed)[0], batch_first=True)[0]   # (B, N, 2 word_hidden)
        return self.classifier(torch.tanh(self.dense(self.dropout(hidden))))

    def forward(self, batch: PaddedWords) -> torch.Tensor:
        """The loss, mean over the sentences."""
        return -self.crf(self.emissions(batch), batch.tags, batch.mask, reduction="mean")

    def decode(self, batch: PaddedWords) -> list[list[int]]:
        """The best tags of every sentence."""
        return self.crf.decode(self.emissions(batch), batch.mask)


def pad(batch: Sequence[Example], words: Words) -> PaddedWords:
    """Pad a batch of sentences whose input_ids are one id for each word."""
    ids = np.concatenate([example.input_ids for example in batch])
    lengths = torch.tensor([len(example.input_ids) for example in batch])
    spelled = [torch.from_numpy(words.spellings[i]) for i in ids.tolist()]
    rows = torch.from_numpy(words.rows[ids]).split(lengths.tolist())
    tags = [torch.from_numpy(example.labels) for example in batch]
    return PaddedWords(pad_sequence(rows, True), lengths, pad_sequence(spelled, True), torch.tensor([len(s) for s in spelled]),
                       pad_sequence(tags, True), mask_of(lengths))


def mask_of(lengths: torch.Tensor) -> torch.Tensor:
    """lengths (B,) -> (B, N) bool, True for words."""
    return torch.arange(int(lengths.max())) < lengths[:, None]


def train_step(model: BilstmCrfModule, batch: PaddedWords, optimizer: torch.optim.Optimizer, clip: float) -> float:
    """Forward with dropout, backward, clip, update, drop the gradients; returns the loss."""
    model.train()
    return update(model(batch), model.parameters(), optimizer, clip)


class TorchBilstmCrf:
    """See minixl/bench/training/contender.py."""

    def __init__(self, work: BilstmCrfWork, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(work.seed)
        self.words, self.clip = work.words, work.settings["optim.clip"]
        self.model = BilstmCrfModule(work.config, len(work.labels), work.words.singletons)
        self.model.load_state_dict({name: torch.from_numpy(value) for name, value in work.start.items()})
        trained = freeze(self.model, work.frozen)
        self.optimizer = torch.optim.SGD(trained, lr=work.settings["optim.lr"], fused=True)

    def prepare(self, batch: Sequence[Example]) -> PaddedWords:
        """Pad to the longest sentence of the batch, and to its longest word."""
        return pad(batch, self.words)

    def step(self, prepared: PaddedWords) -> float:
        """One update."""
        return train_step(self.model, prepared, self.optimizer, self.clip)

    def loss(self, prepared: PaddedWords) -> float:
        """Negative log-likelihood without dropout."""
        self.model.eval()
        with torch.inference_mode():
            return float(self.model(prepared))

    def emissions(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Batch by batch, each padded to its longest sentence."""
        self.model.eval()
        with torch.inference_mode():
            return [scores[:len(example.input_ids)].numpy() for batch in batches
                    for example, scores in zip(batch, self.model.emissions(self.prepare(batch)), strict=True)]

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Batch by batch, as PyTorch users do."""
        self.model.eval()
        with torch.inference_mode():
            return [np.array(tags) for batch in batches for tags in self.model.decode(self.prepare(batch))]

    def hold(self, emissions: Sequence[np.ndarray], sizes: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Pad the emissions of each batch; add its mask."""
        tensors = [torch.from_numpy(scores) for scores in emissions]
        ends = np.cumsum(sizes).tolist()
        batches = [tensors[end - size:end] for end, size in zip(ends, sizes, strict=True)]
        return [(pad_sequence(batch, True), mask_of(torch.tensor([len(scores) for scores in batch]))) for batch in batches]

    def decode(self, held: list[tuple[torch.Tensor, torch.Tensor]]) -> list[np.ndarray]:
        """CRF.decode, batch by batch."""
        with torch.inference_mode():
            return [np.array(tags) for scores, mask in held for tags in self.model.crf.decode(scores, mask)]
