"""The iteration T, D, G with transformers and PyTorch, written as their users would.

T is the tagger's own loss.  D encodes under no_grad; G backpropagates through a frozen discriminator.
The two languages are encoded one after the other, each padded to its own longest sentence; joined, they would be padded
to the longest of both.  Padding is removed before the discriminator.  There are three fused AdamW optimisers.
"""
from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from minixl.bench.training.torch_update import update
from minixl.bench.training.transformers_bert import PaddedPieces, TransformersBert, adamw
from minixl.bench.training.work import AdversarialWork, Iteration


class SentenceDiscriminator(torch.nn.Module):
    """The logit of "source" from the mean of a sentence's states (Keung et al. 2019)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.unit = torch.nn.Linear(hidden_size, 1)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """states (B, N, H), mask (B, N) -> (B,)."""
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.unit(mean)[:, 0]


class TokenDiscriminator(torch.nn.Module):
    """One logit for each word piece (Chen et al. 2021, equation 3, with biases)."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.dense, self.out = torch.nn.Linear(hidden_size, width), torch.nn.Linear(width, 1)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """states (B, N, H), mask (B, N) -> (T,), T = Σ mask."""
        return self.out(torch.relu(self.dense(states[mask.bool()])))[:, 0]


def load_discriminator(work: AdversarialWork, hidden_size: int) -> torch.nn.Module:
    """Make the discriminator with the initial parameters of the work."""
    start = {name.removeprefix("discriminator."): torch.from_numpy(value) for name, value in work.discriminator.items()}
    if work.settings["adversary.level"] == "sentence":
        model: torch.nn.Module = SentenceDiscriminator(hidden_size)
        start = {f"unit.{name}": value for name, value in start.items()}
    else:
        model = TokenDiscriminator(hidden_size, work.settings["adversary.size"])
    model.load_state_dict(start)
    return model


class TransformersAdversarial(TransformersBert):
    """See minixl/bench/training/contender.py."""

    def __init__(self, work: AdversarialWork, threads: int) -> None:
        super().__init__(work, threads)
        self.discriminator = load_discriminator(work, self.model.config.hidden_size)
        self.discriminator_parameters = list(self.discriminator.parameters())
        self.encoder_parameters = [parameter for parameter in self.model.base_model.parameters() if parameter.requires_grad]
        settings = work.settings
        self.optimizer_d = adamw([{"params": self.discriminator_parameters, "lr": settings["adversary.discriminator_lr"],
                                   "weight_decay": 0.0}], work)
        self.optimizer_g = adamw([{"params": self.encoder_parameters, "lr": settings["adversary.lr"],
                                   "weight_decay": settings["adversary.weight_decay"]}], work)

    def prepare(self, batch: Iteration) -> dict[str, PaddedPieces]:           # type: ignore[override]
        """Pad each batch to its longest sentence."""
        prepare = super().prepare
        return {name: prepare(examples) for name, examples in batch.items()}

    def step(self, prepared: dict[str, PaddedPieces]) -> dict[str, float]:    # type: ignore[override]
        """Run the three updates."""
        task = super().step(prepared["source"])
        with torch.no_grad():
            source, target = self._encode(prepared, "discriminator")
        discriminator = update(self._languages(source, target, flipped=False), self.discriminator_parameters,
                               self.optimizer_d, self.clip)
        self.discriminator.requires_grad_(False)
        generator = update(self._languages(*self._encode(prepared, "generator"), flipped=True), self.encoder_parameters,
                           self.optimizer_g, self.clip)
        self.discriminator.requires_grad_(True)
        return {"task": task, "discriminator": discriminator, "generator": generator}

    def loss(self, prepared: dict[str, PaddedPieces]) -> dict[str, float]:    # type: ignore[override]
        """The losses of T, D and G at the same weights."""
        losses = {"task": super().loss(prepared["source"])}             # also turns dropout off
        with torch.inference_mode():
            for loss in ("discriminator", "generator"):
                losses[loss] = float(self._languages(*self._encode(prepared, loss), flipped=loss == "generator"))
        return losses

    def _encode(self, prepared: dict[str, PaddedPieces], loss: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the last hidden states (B, N, H) and mask (B, N) of both languages."""
        inputs = [prepared[f"{side}/{loss}"].inputs for side in ("source", "target")]
        return [(self.model.base_model(**batch).last_hidden_state, batch["attention_mask"]) for batch in inputs]

    def _languages(self, source: Any, target: Any, *, flipped: bool) -> torch.Tensor:
        """Sum the mean binary cross-entropy of both languages; the label of the source is 1, or 0 if flipped."""
        both_logits = [self.discriminator(*states) for states in (source, target)]
        labels = (0.0, 1.0) if flipped else (1.0, 0.0)
        losses = [binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
                  for logits, label in zip(both_logits, labels, strict=True)]
        return losses[0] + losses[1]
