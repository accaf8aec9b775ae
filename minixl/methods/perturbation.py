"""A term: learn from perturbed embeddings as well, moved where the loss rises fastest or at random.  Dong et al. 2020, eq. 1-2.

    g ← ∂L(x) / ∂x                       x (T, H): the embeddings of a batch; L: the task's loss
    r ← ε g / ‖g‖                        or ε n / ‖n‖ with n ~ N(0, I)
    all trainable parameters ← optimiser, with the gradient of L(x) + L(x + r)         r is a constant

The two passes have the same dropout masks, so that r is adversarial for the network that is trained; perturbation.masks=new
draws others.  perturbation.norm says what ε is the norm of: the shift of one sequence (the paper's formula), of every word
piece, or of the whole word table (the authors' code, which shifts all occurrences of a piece alike).  x is the sum of word,
position and type embeddings before LayerNorm, where a shift of the word vector has the same effect; in a bilstm-crf it is the
word vector.  A perturbed step costs two passes forward and backward.
Checked against PyTorch in tests/methods/test_perturbation.py.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minixl.backend import Array, array_module
from minixl.data.batching import Batch, split
from minixl.distributed import group
from minixl.errors import UserError
from minixl.models.family import Model
from minixl.ops.embedding import sum_rows
from minixl.ops.mean_pooling import mean_pooling_forward
from minixl.packing import owner_of, starts_of
from minixl.run.method import Term
from minixl.settings import Section, Setting, Settings
from minixl.training.objective import TASK, Loss, Objective
from minixl.training.update import TaskLoss, Update, gathered, own_sentences

PERTURBED, RANDOM_COMPARISON = "perturbed task", "task under random perturbation"
ADVERSARIAL, RANDOM = KINDS = ("adversarial", "random")
SEQUENCE, TOKEN, TABLE = NORMS = ("sequence", "token", "table")
BOTH, ONLY_PERTURBED = LOSSES_OF_UPDATE = ("both", "perturbed")
SAME, NEW = MASKS = ("same", "new")


class Perturbation(Term):
    """Changes how the gradients of the task's loss are computed; it makes no update of its own."""

    SECTION = Section("perturbation: a term that trains on perturbed embeddings as well", {
        "perturbation.kind": Setting("none", "direction of the perturbation: that of the gradient, or random",
                                     ("none", *KINDS)),
        "perturbation.epsilon": Setting(1.0, "norm of the perturbation", above=0),
        "perturbation.norm": Setting(SEQUENCE, "what has this norm: the perturbation of one sequence, of every word piece, or of "
                                     "the word table, alike for all occurrences of a piece", NORMS),
        "perturbation.loss": Setting(BOTH, "minimise the sum of the task's losses on clean and perturbed embeddings, or only the "
                                     "latter", LOSSES_OF_UPDATE),
        "perturbation.masks": Setting(SAME, "dropout masks of the perturbed pass: the same as those of the clean one, or new ones",
                                      MASKS),
        "perturbation.specials": Setting(True, "also perturb [CLS] and [SEP]"),
        "perturbation.compare": Setting(False, "also log the loss under a random perturbation of the same norm: one more "
                                        "forward pass", compared=False),
    })
    SWITCH, ON, OFF = "perturbation.kind", "perturbation.kind=adversarial", "perturbation.kind=none"
    FAMILY = ""
    LOSSES = {PERTURBED: Loss("optim.lr, optim.head_lr", masks=4, title="task, perturbed"),
              RANDOM_COMPARISON: Loss("optim.lr, optim.head_lr", masks=5, title="task, randomly perturbed")}

    main: Objective                                # whose task it perturbs

    @classmethod
    def check_model(cls, model: Model, settings: Settings) -> None:
        if settings["model.keep_frozen"]:
            raise UserError(f"model.keep_frozen: expected false, since {cls.SWITCH}={settings[cls.SWITCH]} changes the embeddings, "
                            "from which the frozen layers must then be computed; --set model.keep_frozen=false")

    def added_to(self, main: Objective) -> None:
        """Replace the function that computes the gradients of main's task."""
        self.main, main.gradients = main, self.perturbed_gradients
        self.values: dict[str, float] = {}         # of the losses, in main's step
        self.tokens = 0

    def step(self, step: int) -> list[Update]:
        """Return the records of the passes in main's step; the gradient of the perturbed loss was part of that of the task."""
        lr = self.main.optimizers[TASK].last_lr
        return [Update(step, loss, value, 0.0, lr, self.tokens) for loss, value in self.values.items()]

    def perturbed_gradients(self, loss: TaskLoss, batch: Batch, step: int) -> float:
        """Add the gradients of L(x) + L(x + r), or of L(x + r) alone; return L(x)."""
        settings, store = self.settings, self.model.store
        adversarial = settings["perturbation.kind"] == ADVERSARIAL
        before, own = own_sentences(batch)
        parts = [part for part in split(own, settings["train.accumulate"]) if loss.loss_share(part, batch)]
        begin = int(batch.starts[before])
        masks, clean, slopes = self.main.rng(step, TASK), 0.0, []
        for part in parts:
            share = loss.loss_share(part, batch)
            value, cache = loss.loss_forward(part, rng=masks, keep="all" if adversarial else True)
            slopes.append(loss.loss_backward(share, cache, need_dembeddings=adversarial))
            clean += share * value
        if settings["perturbation.loss"] == ONLY_PERTURBED:
            store.zero_grad()
        shifts = self.shifts(parts, slopes if adversarial else self.noise(parts, step, PERTURBED, begin))
        masks, perturbed = self.masks(step), 0.0
        for part, shift in zip(parts, shifts, strict=True):
            share = loss.loss_share(part, batch)
            value, cache = loss.loss_forward(part, rng=masks, shift=shift)
            loss.loss_backward(share, cache)
            perturbed += share * value
        clean, perturbed = group().add(clean, perturbed)
        self.values, self.tokens = {PERTURBED: perturbed}, batch.tokens
        if settings["perturbation.compare"] and adversarial:
            masks = self.masks(step)
            shifts = self.shifts(parts, self.noise(parts, step, RANDOM_COMPARISON, begin))
            self.values[RANDOM_COMPARISON] = group().add(sum(
                loss.loss_share(part, batch) * loss.loss_forward(part, rng=masks, shift=shift, keep=False)[0]
                for part, shift in zip(parts, shifts, strict=True)))[0]
        return clean

    def masks(self, step: int) -> Any:
        """Return the generator of the perturbed pass's dropout masks."""
        return self.main.rng(step, TASK) if self.settings["perturbation.masks"] == SAME else self.rng(step, PERTURBED)

    def noise(self, parts: Sequence[Batch], step: int, loss: str, begin: int = 0) -> list[Array]:
        """Draw n ~ N(0, I), (T, H) for each part.  begin: pieces of the batch before the parts, which other processes have."""
        store, rng = self.model.store, self.rng(step, loss, shared=True)
        width = self.model.embedding_size
        rng.standard_normal((begin, width), dtype=store.dtype)
        return [rng.standard_normal((part.tokens, width), dtype=store.dtype) for part in parts]

    def shifts(self, parts: Sequence[Batch], directions: Sequence[Array]) -> list[Array]:
        """directions (T, H) of each part -> r (T, H) of each part."""
        xp, settings, norm, first = self.model.store.xp, self.settings, self.settings["perturbation.norm"], 0
        if not parts and norm != TABLE:
            return []
        starts = starts_of(length for part in parts for length in np.diff(part.starts))
        direction = xp.concatenate([xp.zeros((0, self.model.embedding_size), self.model.store.dtype), *directions])
        ids = xp.concatenate([xp.zeros(0, np.int64), *(part.input_ids for part in parts)])
        if not settings["perturbation.specials"] and self.model.family == "transformer":
            direction[xp.asarray(np.concatenate([starts[:-1], starts[1:] - 1]))] = 0
        if norm == TABLE:                                              # of the whole batch, whichever process has the pieces
            (first, direction), (_, ids) = gathered(direction), gathered(ids)
        shift = perturbation(direction, ids, starts, norm=norm, epsilon=settings["perturbation.epsilon"])[first:]
        ends = starts_of(part.tokens for part in parts)
        return [shift[first:last] for first, last in zip(ends[:-1], ends[1:], strict=True)]


def perturbation(direction: Array, ids: Array, starts: np.ndarray, *, norm: str, epsilon: float) -> Array:
    """Scale a direction to length ε: direction (T, H), ids (T,), starts (B+1,) -> r (T, H); zero where the direction is zero.

    norm: "sequence", ‖r‖ = ε for every sequence; "token", for every row; "table": directions of equal ids are added up, and
    the shift of all ids together has norm ε.
    """
    xp = array_module(direction)
    if norm == TABLE:
        table = sum_rows(ids, direction)                                               # (n, H) of the n different ids
        length = xp.sqrt((table.values.astype(float) ** 2).sum())
        return table.values[xp.searchsorted(table.rows, ids)] * _scale(length, epsilon).astype(direction.dtype)
    squares = (direction.astype(float) ** 2).sum(axis=1, keepdims=True)                # (T, 1), in float64: squares are small
    if norm == SEQUENCE:
        lengths = xp.asarray(np.diff(starts), float)[:, None]
        squares = (mean_pooling_forward(squares, starts)[0] * lengths)[xp.asarray(owner_of(starts))]
    return direction * _scale(xp.sqrt(squares), epsilon).astype(direction.dtype)


def _scale(length: Array, epsilon: float) -> Array:
    """ε / length, 0 where the length is 0."""
    xp = array_module(length)
    return xp.where(length > 0, epsilon / xp.where(length > 0, length, 1), 0)
