"""minixl's language-adversarial method as a contender: the iteration of `minixl train`, and its parts one at a time.

An iteration should take no longer than its forward and backward passes.  To check this, `parts` composes T, D and G from
the functions of the model and the ops, doing only what each needs:

    T   encode, cache           head, loss              their backward      encoder backward    update
    D   encode, no cache        discriminator, loss     its gradients       -                   update
    G   encode, cache           discriminator, loss     its dx              encoder backward    update

The time of the iteration beyond the sum of these is overhead between them.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from minixl.bench.training.minixl_bert import load_model
from minixl.bench.training.minixl_tagger import FixedStream
from minixl.bench.training.work import AdversarialWork, Iteration
from minixl.data.batching import Batch, pack
from minixl.methods import METHODS, SCHEMA
from minixl.methods.adversary import Languages, languages_loss, logit_starts
from minixl.methods.languages import join
from minixl.models.discriminators import discriminator_backward, discriminator_forward
from minixl.models.heads import head_backward, head_forward
from minixl.ops.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minixl.training.update import PendingUpdate, update_parameters

T = TypeVar("T")


class Stopwatch:
    """Times each call made through it; `seconds` is keyed by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, part: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        begin = time.perf_counter()
        result = function(*args, **kwargs)
        self.seconds[part] = time.perf_counter() - begin
        return result


class MinixlAdversarial:
    """See minixl/bench/training/contender.py.  The environment of the process sets the number of threads."""

    def __init__(self, work: AdversarialWork, threads: int) -> None:
        self.settings = SCHEMA.settings(work.settings)
        self.model = load_model(work, {**work.start, **work.discriminator}, self.settings)
        method = METHODS["language-adversarial"]
        self.fixed = {name: FixedStream() for name in method.streams(self.settings)}
        streams: dict[str, Any] = self.fixed
        self.objective: Any = method.make_objective(self.model, streams, self.settings, work.seed, 1)

    def prepare(self, batch: Iteration) -> dict[str, Batch]:
        """Packed, shortest first."""
        return {name: pack(examples) for name, examples in batch.items()}

    def step(self, prepared: dict[str, Batch]) -> dict[str, float]:
        """Run one iteration as in training."""
        for name, batch in prepared.items():
            self.fixed[name].batch = batch
        return {update.loss: update.value for update in self.objective.step(0)}

    def loss(self, prepared: dict[str, Batch]) -> dict[str, float]:
        """The losses of T, D and G at the same weights."""
        losses = {"task": self.model.loss_forward(prepared["source"])[0]}
        _, adversary = self.objective.parts
        for loss, gradients in (("discriminator", adversary.discriminator_gradients), ("generator", adversary.generator_gradients)):
            both, languages = self._both(prepared, loss)
            losses[loss] = gradients(both, None, languages).loss
        self.model.store.zero_grad()
        return losses

    def parts(self, prepared: dict[str, Batch]) -> dict[str, dict[str, float]]:
        """loss -> part -> seconds."""
        return {"task": self._task(prepared["source"]),
                **{loss: self._adversarial(loss, *self._both(prepared, loss)) for loss in ("discriminator", "generator")}}

    def _both(self, prepared: dict[str, Batch], loss: str) -> tuple[Batch, Languages]:
        """Join the batches of the two languages into one."""
        source = prepared[f"source/{loss}"]
        both = join(source, prepared[f"target/{loss}"])
        starts = logit_starts(both.starts, self.settings["adversary.specials"], self.model.discriminator)
        return both, Languages.of(starts, len(source.order), 0, len(both.order))

    def _task(self, batch: Batch) -> dict[str, float]:
        watch, model, rng = Stopwatch(), self.model, self.objective.rng(0, "task")
        hidden, encoder = watch("encoder", model.encode, batch, rng=rng)

        def judge() -> tuple[Any, Any]:
            logits, head = head_forward(hidden, {"classifier": model.store.under("classifier")[""]}, batch.starts, batch.rows,
                                        pooling="token", dropout=model.config.hidden_dropout_prob, rng=rng)
            return head, softmax_cross_entropy_forward(logits, batch.labels)[1]

        def judge_backward() -> Any:
            dlogits, _ = softmax_cross_entropy_backward(np.float32(1), cache)
            dhidden, grads = head_backward(dlogits, head)
            model.store.accumulate("", grads)
            return dhidden

        head, cache = watch("head", judge)
        dhidden = watch("head backward", judge_backward)
        watch("encoder backward", model.encode_backward, dhidden, encoder)
        self._update(watch, "task")
        return watch.seconds

    def _adversarial(self, loss: str, both: Batch, languages: Languages) -> dict[str, float]:
        watch, model, generator = Stopwatch(), self.model, loss == "generator"
        hidden, encoder = watch("encoder", model.encode, both, rng=self.objective.rng(0, loss), keep=generator)

        def judge() -> tuple[Any, Any]:
            logits, cache = discriminator_forward(hidden, model.store.under("discriminator"), starts=both.starts,
                                                  kind=model.discriminator, specials=self.settings["adversary.specials"])
            return languages_loss(logits, languages, flipped=generator).dlogits, cache   # the loss comes with its gradient

        def judge_backward() -> Any:
            dhidden, grads = discriminator_backward(dlogits, cache, need_dx=generator, need_grads=not generator)
            model.store.accumulate("discriminator", grads)
            return dhidden

        dlogits, cache = watch("head", judge)
        dhidden = watch("head backward", judge_backward)
        if generator:
            watch("encoder backward", model.encode_backward, dhidden, encoder)
        self._update(watch, loss)
        return watch.seconds

    def _update(self, watch: Stopwatch, loss: str) -> None:
        """Clip, update, zero."""
        pending = PendingUpdate(0, loss, self.objective.subsets[loss], self.model.store, self.objective.optimizers[loss])
        watch("update", update_parameters, pending, self.settings["optim.clip"])
