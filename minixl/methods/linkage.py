"""An update that reduces the distance between the states of two languages: energy distance, by average linkage.

    value = 2 avl(S, T) - avl(S, S) - avl(T, T)         S, T: the encoder's last states of a source and a target batch

linkage.level "sentence" compares the mean of every sentence, "token" every word piece; the value is 0 when the two
distributions are equal.  MLMA (Bao et al. 2019, section 2.2) trains a language model with it; here it is a term for any
method of a transformer, with its own batches and Adam moments; linkage.lr sets its strength.  It needs no discriminator.
linkage.distance chooses another of the distances in measures.py, which MLMA uses, too.
The value is over all pairs of a batch, so train.accumulate saves no memory here.  Several processes encode a part of the batch
each, exchange the points, and all compute the value of all pairs.
Checked against PyTorch in tests/methods/test_linkage.py.
"""
from __future__ import annotations

from typing import Any

from minixl.methods.languages import LanguagesTerm, join
from minixl.methods.measures import AVERAGE, MEASURES
from minixl.ops.mean_pooling import mean_pooling_backward, mean_pooling_forward
from minixl.settings import Section, Setting
from minixl.training.objective import Loss
from minixl.training.optimizers import adam
from minixl.training.update import Update, gathered, own_sentences

LOSS = "average linkage"
LEVELS = ("sentence", "token")


class AverageLinkage(LanguagesTerm):
    """One step is one update of the encoder on one batch of each language."""

    SECTION = Section("average linkage: a term that moves the states of two languages closer together", {
        "linkage.level": Setting("none", "which states of two languages move closer together, in separate updates by average "
                                 "linkage (energy distance): the mean of every sentence, or every word piece", ("none", *LEVELS)),
        "linkage.distance": Setting(AVERAGE, "distance between the two clouds of states", tuple(MEASURES)),
        "linkage.lr": Setting(1e-6, "learning rate of these updates; it sets their strength", at_least=0),
    })
    SWITCH, ON, OFF = "linkage.level", "linkage.level=sentence", "linkage.level=none"
    LOSSES = {LOSS: Loss("linkage.lr", masks=3, title="average linkage")}
    STREAMS = {"source/linkage": "source", "target/linkage": "target"}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        names, epoch = self.model.trained_encoder_names(), self.streams["source"].batches_per_epoch
        lr = self.settings["linkage.lr"]
        self.add_loss(LOSS, names, adam(self.model, names, lr, 0.0, self.settings, self.total_steps, epoch))

    def step(self, step: int) -> list[Update]:
        """Make one update; only linkage.lr sets its size, since Adam's step does not depend on the scale of a loss."""
        model, rng = self.model, self.rng(step, LOSS)
        source, target = next(self.streams["source/linkage"]), next(self.streams["target/linkage"])
        batch = join(source, target)
        _, own = own_sentences(batch)
        points, encoder = model.encode(own, rng=rng) if own.tokens else \
            (model.store.xp.zeros((0, model.embedding_size), model.store.dtype), None)         # (T, H) of this process's part
        border, pooling = source.tokens, None
        if self.settings["linkage.level"] == "sentence":
            points, pooling = mean_pooling_forward(points, own.starts)                 # (B, H)
            border = len(source.order)
        first, everything = gathered(points)
        value, dsource, dtarget = MEASURES[self.settings["linkage.distance"]](everything[:border], everything[border:])
        dpoints = model.store.xp.concatenate([dsource, dtarget])[first:first + len(points)]
        if own.tokens:
            model.encode_backward(dpoints if pooling is None else mean_pooling_backward(dpoints, pooling)[0], encoder)
        return [self.update(step, LOSS, value, batch.tokens)]
