"""The language model of MLMA as usually written with PyTorch: nn.TransformerEncoderLayer on padded batches, Adam.

    states    the output of norm1 of every layer, and of the final LayerNorm, of the words without padding
    loss      sampled softmax on the tied word table, with the candidates of step 0; average linkage by torch.cdist

The backward stack reads every sentence from its end, so both stacks are causal and see no padding.  Bao et al. 2019.
"""
from __future__ import annotations

import math
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from minixl.bench.training.torch_update import update
from minixl.bench.training.work import Iteration, LanguageModelWork
from minixl.models.bidirectional_lm_config import DIRECTIONS, EOS, LanguageModelConfig

PARTS = {"self_attn.out_proj": "attention.output", "linear1": "intermediate", "linear2": "output", "norm1": "attention.LayerNorm",
         "norm2": "LayerNorm"}


class PaddedSentences(NamedTuple):
    """B sentences of one language padded to the longest, N words."""

    ids: Tensor              # (B, N)
    real: Tensor             # (B, N)  bool, True for words
    reversed: Tensor         # (B, N)  place of each word when every sentence is read from its end
    targets: dict[str, Tensor]         # direction -> what each word predicts, (T,)


class Stack(nn.Module):
    """The blocks of one direction; `states` are the layers of the last forward pass."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.blocks: Any = nn.ModuleList(nn.TransformerEncoderLayer(
            config.hidden_size, config.num_attention_heads, config.intermediate_size, config.dropout, "relu",
            config.layer_norm_eps, batch_first=True, norm_first=True) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.states: list[Tensor] = []
        for block in self.blocks:
            block.get_submodule("norm1").register_forward_hook(lambda module, inputs, output: self.states.append(output))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, N, H) -> L + 1 layers of states (B, N, H)."""
        self.states = []
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        return [*self.states, self.norm(x)]


class LanguageModelModule(nn.Module):
    """Word tables of all languages and both stacks."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.ModuleDict({language: nn.Embedding(size, config.hidden_size)
                                    for language, size in config.vocabulary_sizes.items()})
        self.stacks = nn.ModuleList(Stack(config) for _ in DIRECTIONS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, language: str, batch: PaddedSentences) -> dict[str, list[Tensor]]:
        """The layers of both directions, (T, H) each."""
        hidden, length = self.config.hidden_size, batch.ids.shape[1]
        waves = torch.exp(-torch.arange(hidden // 2) * (math.log(1e4) / max(hidden // 2 - 1, 1)))
        angles = torch.arange(length)[:, None] * waves
        x = self.words[language](batch.ids) * math.sqrt(hidden) + torch.cat([angles.sin(), angles.cos()], 1)
        x, place = self.dropout(x), batch.reversed[..., None].expand(-1, -1, hidden)
        forward, backward = self.stacks[0](x), self.stacks[1](x.gather(1, place))
        return dict(zip(DIRECTIONS, ([state[batch.real] for state in forward],
                                     [state.gather(1, place)[batch.real] for state in backward]), strict=True))


class TorchLanguageModel:
    """See minixl/bench/training/contender.py."""

    def __init__(self, work: LanguageModelWork, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(work.seed)
        self.settings, self.config = work.settings, work.config
        self.candidates = {key: (torch.from_numpy(ids), log_expected(ids, tries, work.config.vocabulary_sizes[key[0]]), tries)
                           for key, (ids, tries) in work.candidates.items()}
        self.model = LanguageModelModule(work.config)
        load(self.model, work.start)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.settings["language_model.lr"], betas=(0.9, 0.997),
                                          eps=1e-9, fused=True)

    def prepare(self, batch: Iteration) -> dict[str, PaddedSentences]:
        """Pad every language's batch to its longest sentence."""
        return {language: pad([example.input_ids for example in examples]) for language, examples in batch.items()}

    def step(self, prepared: dict[str, PaddedSentences]) -> float:
        """One update."""
        self.model.train()
        return update(self.total(prepared), self.model.parameters(), self.optimizer, self.settings["optim.clip"])

    def loss(self, prepared: dict[str, PaddedSentences]) -> float:
        """The loss without dropout."""
        self.model.eval()
        with torch.no_grad():
            return float(self.total(prepared))

    def total(self, prepared: dict[str, PaddedSentences]) -> Tensor:
        """The mean loss of the languages plus average linkage of all layers."""
        states = {language: self.model(language, batch) for language, batch in prepared.items()}
        total = sum((self.predicted(language, direction, states[language][direction][-1], batch.targets[direction])
                     for language, batch in prepared.items() for direction in DIRECTIONS), torch.zeros(())) / len(prepared)
        weight = self.settings["mlma.average_linkage"] / (len(prepared) - 1)
        for first, second in combinations(states, 2):
            for direction in DIRECTIONS:
                for x, y in zip(states[first][direction], states[second][direction], strict=True):
                    total = total + weight * (2 * self.linkage(x, y) - self.linkage(x, x) - self.linkage(y, y))
        return total

    def linkage(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean distance of all pairs; in training by a product of matrices, which is faster and rounds small distances."""
        mode = "use_mm_for_euclid_dist" if self.model.training else "donot_use_mm_for_euclid_dist"
        return torch.cdist(x, y, compute_mode=mode).clamp(1e-3, 1e3).mean()

    def predicted(self, language: str, direction: str, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sampled softmax: the target and the candidates other than it."""
        ids, correction, tries = self.candidates[language, direction]
        table: Any = self.model.words[language].weight
        scores = hidden @ table[ids].T - correction
        scores = scores.masked_fill(ids == targets[:, None], -math.inf)
        own = (hidden * table[targets]).sum(1) - log_expected(targets.numpy(), tries, len(table))
        return functional.cross_entropy(torch.cat([own[:, None], scores], 1), torch.zeros(len(targets), dtype=torch.long))


def log_expected(ids: np.ndarray, tries: int, words: int) -> Tensor:
    """log Q of candidates: see minixl/ops/sampled_softmax.py."""
    if not tries:
        return torch.zeros(len(ids))
    chance = np.log1p(1 / (ids + 1.0)) / math.log(words + 1)
    return torch.from_numpy(np.log(-np.expm1(tries * np.log1p(-chance)))).float()


def pad(sentences: list[np.ndarray]) -> PaddedSentences:
    """Pad sentences and find what their words predict."""
    lengths = torch.tensor([len(ids) for ids in sentences])
    ids = nn.utils.rnn.pad_sequence([torch.from_numpy(ids) for ids in sentences], batch_first=True)
    places = torch.arange(ids.shape[1])
    real = places < lengths[:, None]
    turned = torch.where(real, lengths[:, None] - 1 - places, places)
    after = np.concatenate([np.append(one[1:], EOS) for one in sentences])
    before = np.concatenate([np.append(EOS, one[:-1]) for one in sentences])
    return PaddedSentences(ids, real, turned, dict(zip(DIRECTIONS, map(torch.from_numpy, (after, before)), strict=True)))


def load(model: LanguageModelModule, start: dict[str, np.ndarray]) -> None:
    """Copy parameters with minixl's names."""
    with torch.no_grad():
        for language, table in model.words.items():
            table.get_parameter("weight").copy_(torch.from_numpy(start[f"words.{language}.weight"]))
        stacks: Any = model.stacks
        for direction, stack in zip(DIRECTIONS, stacks, strict=True):
            for kind in ("weight", "bias"):
                getattr(stack.norm, kind).copy_(torch.from_numpy(start[f"{direction}.LayerNorm.{kind}"]))
                for i, block in enumerate(stack.blocks):
                    prefix = f"{direction}.layer.{i}"
                    joint = np.concatenate([start[f"{prefix}.attention.{name}.{kind}"] for name in ("query", "key", "value")])
                    getattr(block.self_attn, f"in_proj_{kind}").copy_(torch.from_numpy(joint))
                    for theirs, ours in PARTS.items():
                        getattr(block.get_submodule(theirs), kind).copy_(torch.from_numpy(start[f"{prefix}.{ours}.{kind}"]))
