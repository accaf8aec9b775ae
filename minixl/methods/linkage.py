"""An update that draws the states of two languages together: their energy distance, by average linkage.

    value = 2 avl(S, T) - avl(S, S) - avl(T, T)         S, T: the encoder's last states of a source and a target batch

alignment.level "sentence" compares the mean of every sentence, "token" every word piece; the value is 0 when the two clouds
are one.  MLMA (Bao et al. 2019, section 3.2) trains a language model with it; here it is a term for any method of a
transformer, with batches and Adam moments of its own, and alignment.lr as its strength.  No discriminator has to be trained.
The value is over all pairs of a batch, so the batch is never split: train.accumulate saves no memory here.
The distance and its gradient: minixl/ops/average_linkage.py.  Checked against PyTorch in tests/methods/test_linkage.py.
"""
from __future__ import annotations

from typing import Any

from minixl.data.batching import Stream
from minixl.methods.adversary import adam, join
from minixl.training.update import Update, step_rng, update_parameters
from minixl.models.transformer import Transformer
from minixl.ops.average_linkage import average_linkage_backward, average_linkage_forward
from minixl.ops.mean_pooling import mean_pooling_backward, mean_pooling_forward
from minixl.settings import Settings

RNG = 3                                            # which dropout masks of a step; see methods/adversary.py


class AverageLinkage:
    """One step is one update of the encoder on one batch of each language."""

    STREAMS = {"source/alignment": "source", "target/alignment": "target"}

    def __init__(self, model: Transformer, streams: dict[str, Stream], settings: Settings, seed: int, total_steps: int) -> None:
        self.model, self.streams, self.settings, self.seed = model, streams, settings, seed
        self.subset = model.trained_encoder_names()
        self.optimizer = adam(model, self.subset, settings["alignment.lr"], 0.0, settings, total_steps,
                              streams["source"].batches_per_epoch)

    def step(self, step: int) -> list[Update]:
        """One update; how far it moves is alignment.lr alone, as Adam's step does not depend on the scale of a loss."""
        model, rng = self.model, step_rng(self.seed, step, RNG, self.model.store.xp)
        source, target = next(self.streams["source/alignment"]), next(self.streams["target/alignment"])
        batch = join(source, target)
        points, encoder = model.encode(batch, rng=rng)                                 # (T, H)
        border, pooling = source.tokens, None
        if self.settings["alignment.level"] == "sentence":
            points, pooling = mean_pooling_forward(points, batch.starts)               # (B, H)
            border = len(source.order)
        value, cache = average_linkage_forward(points[:border], points[border:])
        dsource, others = average_linkage_backward(model.store.dtype.type(1), cache)
        dpoints = model.store.xp.concatenate([dsource, others["y"]])
        model.encode_backward(dpoints if pooling is None else mean_pooling_backward(dpoints, pooling)[0], encoder)
        norm = update_parameters(model, self.optimizer, self.subset, self.settings["optim.clip"])
        return [Update(step, "average linkage", float(value), "average linkage", norm, self.optimizer.last_lr, batch.tokens)]

    def subsets(self) -> dict[str, list[str]]:
        """loss -> names of the parameters it moves."""
        return {"average linkage": self.subset}

    def optimizers(self) -> dict[str, Any]:
        """loss -> its optimiser, for checkpoints."""
        return {"average linkage": self.optimizer}
