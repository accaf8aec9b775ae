"""Stages B, C and D of AdvPicker on arrays, and the figures of the paper's tables 4, 5 and 7.  Chen et al. 2021, sections 3.2, 4.1.

    B   for each teacher, for each unlabelled sentence x, without dropout:
            h ← encoder(x)
            ŷ ← softmax(classifier(h)) at the first piece of every word                  soft labels, eq. 2
            p̄ ← mean over the pieces of x of σ(discriminator(h))                         "x is source text", eq. 5
    C   for each x: ŷ and p̄ ← those of the teacher that is most confident in its labels
    D   for each x: ℓ ← 1 - |p̄ - ½|                                                      language independence, eq. 6
        keep the int(ρN) sentences with the highest ℓ

algorithm.py runs the stages one after another.  Test: tests/methods/advpicker/test_labels.py.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import to_numpy
from minixl.data.batching import TOKENS, Batch, batch_results
from minixl.data.encoding import Encoded, scored_starts
from minixl.data.schemes import legal_transitions, paths_to_tags
from minixl.errors import UserError
from minixl.evaluation.scores import score
from minixl.models.discriminators import discriminator_forward, judged
from minixl.models.transformer import Transformer
from minixl.ops.binary_cross_entropy import sigmoid
from minixl.ops.linear import linear_forward
from minixl.ops.softmax import softmax_forward
from minixl.ops.viterbi import viterbi
from minixl.packing import starts_of

RULES = ("max_probability", "max_logit")
SHARES = tuple(round(0.1 * i, 1) for i in range(1, 11))


class Scored(NamedTuple):
    """One teacher's scores of N sentences with W words in all."""

    probabilities: np.ndarray  # (W, K)  soft labels of the words, sentence after sentence
    starts: np.ndarray         # (N+1,)  where each sentence's words begin
    p_bar: np.ndarray          # (N,)    mean probability of being source text
    max_logit: np.ndarray      # (N,)    mean over all pieces of the highest logit, for the rule "max_logit"


class Merged(NamedTuple):
    """For each sentence, the scores of its most confident teacher."""

    probabilities: np.ndarray  # (W, K)
    starts: np.ndarray         # (N+1,)
    p_bar: np.ndarray          # (N,)    mean probability of being source text
    teacher: np.ndarray        # (N,)    index of the teacher


# Stage B

def score_sentences(model: Transformer, encoded: Encoded, *, specials: bool = True, tokens: int = TOKENS,
                    progress: Callable[[int], None] | None = None) -> Scored:
    """Score every sentence in one forward pass.  Raises UserError for a model that is not a tagger with a discriminator.

    The windows of a long sentence count together.  specials: include [CLS] and [SEP] in p̄, as in training (setting
    adversary.specials).  To combine one epoch's labels with another epoch's p̄, as the paper's code does:
    labels._replace(p_bar=language.p_bar).
    """
    if model.pooling != "token" or model.discriminator == "none":
        raise UserError("teacher: expected a tagger trained with a language discriminator (adversary.level=token), found a "
                        + ("tagger without one" if model.pooling == "token" else "classifier"))
    examples, starts = encoded.examples, scored_starts(encoded)
    probabilities = np.zeros((starts[-1], len(model.labels)), model.store.dtype)
    language, logit = _RunningMean(encoded.sources), _RunningMean(encoded.sources)
    score_batch = partial(_score_batch, model, specials)
    for _, indices, scores in batch_results(score_batch, examples, tokens, model.store.xp, progress, shared=True):
        packed = [examples[i] for i in indices]
        labels, source_text, highest, bounds = scores
        sources = np.array([e.source for e in packed])
        language.add(sources, source_text, bounds)
        logit.add(sources, highest, starts_of(len(e.input_ids) for e in packed))
        rows = [starts[e.source] + e.first_word + np.arange(len(e.rows)) for e in packed]
        probabilities[np.concatenate(rows)] = labels
    scored = Scored(probabilities, starts, language.result(), logit.result())
    if not all(np.isfinite(part).all() for part in scored):
        raise FloatingPointError("the teacher's scores became nan: its learning rate (optim.lr) was too high")
    return scored


def _score_batch(model: Transformer, specials: bool, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return soft labels (W, K), σ of the discriminator (J,), the highest logit (T,), and where sentences begin in J (B+1,)."""
    hidden, _ = model.encode(batch, keep=False)                                        # (T, H)
    logits, _ = linear_forward(hidden, **model.store.under("classifier")[""])          # (T, K)
    language, _ = discriminator_forward(hidden, model.store.under("discriminator"), starts=batch.starts,
                                        kind=model.discriminator, specials=specials)   # (J,)
    by_piece = model.discriminator == "token"
    bounds = judged(batch.starts, specials)[1] if by_piece else np.arange(len(batch.starts))
    labels, _ = softmax_forward(logits[batch.rows])                                    # (W, K)
    return to_numpy(labels), to_numpy(sigmoid(language)), to_numpy(logits.max(axis=1)), bounds


class _RunningMean:
    """Means over all pieces of each of `count` sentences, whose windows arrive in any order."""

    def __init__(self, count: int) -> None:
        self.total, self.pieces = np.zeros(count), np.zeros(count)

    def add(self, sources: np.ndarray, values: np.ndarray, bounds: np.ndarray) -> None:
        """Add values; values[bounds[i]:bounds[i+1]] belong to sentence sources[i]."""
        lengths = np.diff(bounds)
        np.add.at(self.total, np.repeat(sources, lengths), values)
        np.add.at(self.pieces, sources, lengths)

    def result(self) -> np.ndarray:
        """Return the means (count,) in float64."""
        return self.total / np.maximum(self.pieces, 1)


# Stage C

def merge(teachers: Sequence[Scored], rule: str = "max_probability") -> Merged:
    """Take each sentence's labels and p̄ from its most confident teacher; in a tie, from the first.

    max_probability   highest mean over the words of max_k ŷ_k: the paper's "label confidence" (section 4.1)
    max_logit         highest mean over all pieces of the highest logit, as in the authors' code.  Logits may be shifted
                      without changing a probability, so this rule can prefer a teacher that is no more confident
    """
    if rule not in RULES:
        raise ValueError(f"merge: expected one of {', '.join(RULES)}, got {rule!r}")
    first = teachers[0]
    for i, teacher in enumerate(teachers):
        if not np.array_equal(teacher.starts, first.starts) or teacher.probabilities.shape != first.probabilities.shape:
            raise ValueError(f"merge: teacher {i} scored {_size(teacher)}, teacher 0 {_size(first)}")
    by_sentence = np.stack([confidence(teacher, rule) for teacher in teachers]).argmax(axis=0)     # (N,)
    by_word = np.repeat(by_sentence, np.diff(first.starts))                                        # (W,)
    probabilities = np.empty_like(first.probabilities)
    for i, teacher in enumerate(teachers):
        probabilities[by_word == i] = teacher.probabilities[by_word == i]
    p_bar = np.stack([teacher.p_bar for teacher in teachers])[by_sentence, np.arange(len(by_sentence))]
    return Merged(probabilities, first.starts, p_bar, by_sentence)


def confidence(scored: Scored, rule: str = "max_probability") -> np.ndarray:
    """Return the teacher's confidence in its labels of each sentence (N,), as merge compares it."""
    if rule == "max_logit":
        return scored.max_logit
    mean = _RunningMean(len(scored.p_bar))
    mean.add(np.arange(len(scored.p_bar)), scored.probabilities.max(axis=1), scored.starts)
    return mean.result()


def _size(scored: Scored) -> str:
    words, labels = scored.probabilities.shape
    return f"{len(scored.starts) - 1} sentences of {words} words with {labels} labels"


# Stage D

def independence(p_bar: np.ndarray) -> np.ndarray:
    """p̄ (N,) -> ℓ (N,) in [½, 1], eq. 6: 1 where source and target look alike.

    The mean over the pieces is taken first.  A sentence with half of its pieces certainly source text and half certainly
    not has ℓ = 1, although no single piece is undecided (the mean of 1 - |p - ½| over the pieces would be ½).
    """
    return 1 - np.abs(p_bar - 0.5)


def select(language_independence: np.ndarray, rho: float) -> np.ndarray:
    """ℓ (N,) -> the indices of the int(ρN) sentences with the highest ℓ, highest first; the lower index wins a tie."""
    count = int(rho * len(language_independence)) if 0 < rho <= 1 else 0
    if not count:
        raise UserError(f"advpicker.rho: expected a share above 0 and at most 1 that is at least one of the "
                        f"{len(language_independence)} unlabelled sentences, got {rho:g}")
    return np.argsort(-language_independence, kind="stable")[:count]


def mask(indices: np.ndarray, count: int) -> np.ndarray:
    """Indices -> (count,) bool."""
    selected = np.zeros(count, bool)
    selected[indices] = True
    return selected


# The paper's figures

def best_labels(labelled: Scored | Merged, labels: Sequence[str], scheme: str, *, constrained: bool = True) -> np.ndarray:
    """Return the indices (W,) of the labels in each sentence's best sequence (Viterbi).

    constrained: only sequences that the scheme allows; in IOB2, I-X must follow B-X or I-X.
    """
    scores = np.log(np.maximum(labelled.probabilities, np.finfo(np.float32).tiny))
    return viterbi(scores, labelled.starts, legal=legal_transitions(labels, scheme) if constrained else None)[0]


def pseudo_tags(labelled: Scored | Merged, labels: Sequence[str], scheme: str, *, constrained: bool = True) -> list[list[str]]:
    """Return best_labels as a list of tags for each sentence, spans in IOB2.  scheme: of the labels."""
    return paths_to_tags(best_labels(labelled, labels, scheme, constrained=constrained), labelled.starts, labels, scheme)


def split_scores(task: str, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]],
                 selected: np.ndarray) -> list[dict[str, Any]]:
    """Return number and score of the selected sentences, of the others, and of all: tables 4, 5 and 7.

    predicted: in tables 4 and 5 the pseudo-labels of text that has gold tags; in table 7 a student's tags of a test set
    that stages B to D have split in the same way.
    """
    rows = []
    for part, members in (("selected", selected), ("other", ~selected), ("all", np.ones(len(selected), bool))):
        indices = np.flatnonzero(members).tolist()
        scores = score(task, [gold[i] for i in indices], [predicted[i] for i in indices])
        rows.append({"part": part, "sentences": len(indices), **scores})
    return rows


def sweep(task: str, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], language_independence: np.ndarray,
          shares: Sequence[float] = SHARES) -> list[dict[str, Any]]:
    """Return the score of the selected sentences for every ρ of `shares` that selects any: does selection help?"""
    count = len(language_independence)
    return [{"rho": rho, **split_scores(task, gold, predicted, mask(select(language_independence, rho), count))[0]}
            for rho in shares if int(rho * count)]


def histogram(p_bar: np.ndarray, selected: np.ndarray, bins: int = 20) -> list[dict[str, Any]]:
    """Count all sentences and the selected ones by p̄, in equal bins from 0 to 1."""
    edges = np.linspace(0, 1, bins + 1)
    counts, selected_counts = np.histogram(p_bar, edges)[0], np.histogram(p_bar[selected], edges)[0]
    return [{"from": float(low), "to": float(high), "sentences": int(n), "selected": int(k)}
            for low, high, n, k in zip(edges[:-1], edges[1:], counts, selected_counts, strict=True)]


def agreement(teachers: Sequence[Scored], merged: Merged) -> list[dict[str, Any]]:
    """Return for each teacher: how many sentences have its labels, its mean confidence, its share of words labelled as merged."""
    labels = merged.probabilities.argmax(axis=1)
    return [{"teacher": i, "chosen": int((merged.teacher == i).sum()), "confidence": float(confidence(teacher).mean()),
             "agreement": float((teacher.probabilities.argmax(axis=1) == labels).mean())} for i, teacher in enumerate(teachers)]
