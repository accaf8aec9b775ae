"""Every op of cases.py in PyTorch, as a textbook writes it, to compare values and gradients with autograd.

Each has the arguments of the op's forward: tensors for those that are differentiated, NumPy arrays and numbers for the others.
"""
from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from minixl.ops.moment_distance import EPSILON
from minixl.ops.sampled_softmax import Candidates, log_expected

NEVER = -1e30                          # the score of what is not allowed


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.linear(x, weight, bias)


def embedding(weight: Tensor, ids: np.ndarray) -> Tensor:
    return functional.embedding(torch.tensor(ids), weight)


def layernorm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


def gelu(x: Tensor) -> Tensor:
    return functional.gelu(x)


def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, -1)


def log_softmax(x: Tensor) -> Tensor:
    return torch.log_softmax(x, -1)


def dropout(x: Tensor, p: float, mask: np.ndarray) -> Tensor:
    return x * torch.tensor(mask) / (1 - p)


def variational_dropout(x: Tensor, p: float, starts: np.ndarray, mask: np.ndarray) -> Tensor:
    return x * torch.tensor(mask).repeat_interleave(torch.tensor(np.diff(starts)), 0) / (1 - p)


def mean_pooling(x: Tensor, starts: np.ndarray) -> Tensor:
    return torch.stack([rows.mean(0) for rows in _sentences(x, starts)])


def softmax_cross_entropy(logits: Tensor, labels: np.ndarray) -> Tensor:
    return functional.cross_entropy(logits, torch.tensor(labels))


def binary_cross_entropy(logits: Tensor, targets: np.ndarray) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.tensor(targets))


def soft_squared_error(logits: Tensor, targets: np.ndarray) -> Tensor:
    return functional.mse_loss(torch.softmax(logits, -1), torch.tensor(targets))


def masked_softmax_dropout(x: Tensor, valid: np.ndarray, p: float = 0.0, mask: np.ndarray | None = None) -> Tensor:
    inside = torch.arange(x.shape[1]) < torch.tensor(valid)[:, None]
    probs = torch.softmax(x.masked_fill(~inside, NEVER), -1) * inside
    return probs if mask is None else probs * torch.tensor(mask) / (1 - p)


def attention(query: Tensor, key: Tensor, value: Tensor, starts: np.ndarray, heads: int, visible: str = "all",
              dropout: float = 0.0, mask: np.ndarray | None = None) -> Tensor:
    contexts, used = [], 0
    for q, k, v in zip(*(_sentences(x, starts) for x in (query, key, value)), strict=True):
        q, k, v = (x.reshape(len(x), heads, query.shape[1] // heads).transpose(0, 1) for x in (q, k, v))      # (A, l, D)
        scores = q @ k.transpose(1, 2) / sqrt(q.shape[-1])
        if visible != "all":
            seen = torch.ones(scores.shape, dtype=torch.bool)
            scores = scores.masked_fill(~(seen.tril() if visible == "before" else seen.triu()), NEVER)
        probs = torch.softmax(scores, -1)
        if mask is not None:
            probs = probs * torch.tensor(mask[used:used + probs.numel()]).reshape(probs.shape) / (1 - dropout)
            used += probs.numel()
        contexts.append((probs @ v).transpose(0, 1).reshape(-1, query.shape[1]))
    return torch.cat(contexts)


def average_linkage(x: Tensor, y: Tensor) -> Tensor:
    def linkage(a: Tensor, b: Tensor) -> Tensor:
        return ((a[:, None] - b[None]) ** 2).sum(-1).clamp(1e-6, 1e6).sqrt().mean()
    return 2 * linkage(x, y) - linkage(x, x) - linkage(y, y)


def cosine_linkage(x: Tensor, y: Tensor) -> Tensor:
    def linkage(a: Tensor, b: Tensor) -> Tensor:
        return (1 - functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T).mean()
    return 2 * linkage(x, y) - linkage(x, x) - linkage(y, y)


def moment_distance(x: Tensor, y: Tensor, mean_weight: float, deviation_weight: float) -> Tensor:
    u = (x.mean(0) - y.mean(0)) / (x.abs().mean(0) + y.abs().mean(0) + EPSILON)
    of_x, of_y = x.std(0, correction=0), y.std(0, correction=0)
    return mean_weight * u.norm() + deviation_weight * ((of_x - of_y) / (of_x + of_y + EPSILON)).norm()


def moment_norms(x: Tensor, y: Tensor, mean_weight: float, variance_weight: float) -> Tensor:
    def ratio(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).norm() / (a.abs().sum() + b.abs().sum() + EPSILON)
    return mean_weight * ratio(x.mean(0), y.mean(0)) + variance_weight * ratio(x.var(0, correction=0), y.var(0, correction=0))


def identical_strings(x: Tensor, y: Tensor, rows: np.ndarray, others: np.ndarray) -> Tensor:
    return (x[torch.tensor(rows)] - y[torch.tensor(others)]).norm(dim=1).mean()


def sampled_softmax(x: Tensor, weight: Tensor, targets: np.ndarray, candidates: Candidates) -> Tensor:
    words, losses = np.arange(len(weight)), []
    correction = torch.tensor(log_expected(words, candidates))
    for row, target in zip(x, targets, strict=True):
        chosen = torch.tensor([target, *(word for word in candidates.ids if word != target)])
        losses.append(-torch.log_softmax(weight[chosen] @ row - correction[chosen], 0)[0])
    return torch.stack(losses).mean()


def fully_weighted(states: Tensor, weight: Tensor) -> Tensor:
    return (states * torch.softmax(weight, 0)).sum(1)


def self_weighted(states: Tensor, scores: Tensor) -> Tensor:
    return (states * torch.softmax(scores, 1)[:, :, None]).sum(1)


def recurrent(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, starts: np.ndarray,
              bias_hh: Tensor | None = None, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """One direction of an LSTM: hidden (T, H), final (B, H)."""
    hidden, final = [], []
    for rows in _sentences(x, starts):
        h = c = x.new_zeros(weight_hh.shape[1])
        states = []
        for row in rows.flip(0) if reverse else rows:
            i, f, g, o = (weight_ih @ row + weight_hh @ h + bias + (0 if bias_hh is None else bias_hh)).chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        final.append(h)
        hidden += states[::-1] if reverse else states
    return torch.stack(hidden), torch.stack(final)


def bilstm(x: Tensor, starts: np.ndarray, **weights: Tensor) -> tuple[Tensor, Tensor]:
    there: dict[str, Any] = {name: weight for name, weight in weights.items() if not name.endswith("_reverse")}
    back: dict[str, Any] = {name.removesuffix("_reverse"): weight for name, weight in weights.items() if name not in there}
    directions = recurrent(x, starts=starts, **there), recurrent(x, starts=starts, **(back or there), reverse=True)
    hidden, final = (torch.cat(parts, 1) for parts in zip(*directions, strict=True))
    return hidden, final


def log_partition(emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, starts: np.ndarray) -> Tensor:
    return torch.stack([_log_z(rows, transitions, start, end) for rows in _sentences(emissions, starts)])


def crf(emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, tags: np.ndarray, starts: np.ndarray,
        legal: Any = None) -> Tensor:
    if legal is not None:
        transitions, start, end = (torch.where(torch.tensor(allowed), scores, NEVER) for allowed, scores in (
            (legal.transitions, transitions), (legal.start, start), (legal.end, end)))
    losses = []
    for rows, gold in zip(_sentences(emissions, starts), np.split(tags, starts[1:-1]), strict=True):
        score = emissions.new_zeros(())
        if len(gold):
            score = start[gold[0]] + end[gold[-1]] + rows[range(len(gold)), gold].sum() + transitions[gold[:-1], gold[1:]].sum()
        losses.append(_log_z(rows, transitions, start, end) - score)
    return torch.stack(losses)


def _log_z(rows: Tensor, transitions: Tensor, start: Tensor, end: Tensor) -> Tensor:
    if not len(rows):
        return rows.new_zeros(())
    alpha = start + rows[0]
    for row in rows[1:]:
        alpha = torch.logsumexp(alpha[:, None] + transitions, 0) + row
    return torch.logsumexp(alpha + end, 0)


def _sentences(x: Tensor, starts: np.ndarray) -> tuple[Tensor, ...]:
    return x.split(np.diff(starts).tolist())
