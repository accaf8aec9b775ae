"""Language-adversarial training as one would write it with PyTorch: padded batches, autograd, three optimisers."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import BertConfig, BertModel, get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from minixl.data.batching import Batch
from minixl.models.transformer import Transformer
from minixl.settings import Settings
from tests.models.hugging_face import LABELS, padded


class Twin(torch.nn.Module):
    """Encoder, head and discriminator in float64 with the values of `ours`, under the same names."""

    def __init__(self, ours: Transformer) -> None:
        super().__init__()
        self.kind, self.pooling = ours.discriminator, ours.pooling
        config = BertConfig(**ours.config.raw, attn_implementation="eager")
        self.bert = BertModel(config, add_pooling_layer=False)
        self.classifier = torch.nn.Linear(config.hidden_size, len(LABELS))
        self.discriminator: torch.nn.Module = torch.nn.Linear(config.hidden_size, 1)
        if self.kind == "token":
            width = len(ours.store["discriminator.dense.bias"].value)
            self.discriminator = torch.nn.ModuleDict({"dense": torch.nn.Linear(config.hidden_size, width),
                                                      "out": torch.nn.Linear(width, 1)})
        self.double()
        for name, parameter in self.named_parameters():
            parameter.data = torch.tensor(ours.store[name].value.copy())
            parameter.requires_grad = ours.store[name].trainable

    def encode(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden states (B, L, H) and the mask (B, L) of what is not padding."""
        given = padded(batch)
        states = self.bert(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
        return states, given["attention_mask"].double()

    def task_loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the labelled words, or documents."""
        states, mask = self.encode(batch)
        if self.pooling == "mean":
            return cross_entropy(self.classifier(mean(states, mask)), torch.tensor(batch.labels))
        return cross_entropy(self.classifier(states).flatten(0, 1), padded(batch)["labels"].flatten(), ignore_index=-100)

    def language(self, batch: Batch, source: bool, specials: bool, *, flipped: bool) -> tuple[torch.Tensor, float]:
        """The loss of one language's batch, and how much of it is told right."""
        states, mask = self.encode(batch)
        if not specials:
            mask = mask.clone()
            for row, length in enumerate(np.diff(batch.starts)):
                if length > 2:
                    mask[row, 0] = mask[row, length - 1] = 0
        if self.kind == "sentence":
            logits = self.discriminator(mean(states, mask))[:, 0]
        else:
            layers = self.discriminator
            logits = layers["out"](torch.relu(layers["dense"](states)))[..., 0][mask.bool()]
        loss = binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(source != flipped)))
        return loss, ((logits > 0) == source).double().mean().item()


def mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Over what is not masked: (B, L, H), (B, L) -> (B, H)."""
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class Done(NamedTuple):
    """The fields of minixl.training.update.Update that are compared."""

    loss: str
    value: float
    gradient_norm: float
    accuracy: float | None


class Trainer:
    """Algorithm 1 of Keung et al. 2019 over lists of batches by the names of minixl's streams."""

    def __init__(self, twin: Twin, settings: Settings, total: int) -> None:
        self.twin, self.settings = twin, settings
        named = dict(twin.named_parameters())
        decay = settings["optim.weight_decay"] if settings["optim.name"] == "adamw" else 0.0
        task: dict[tuple[bool, bool], list[torch.Tensor]] = {}
        for name, parameter in named.items():
            if not name.startswith("discriminator") and parameter.requires_grad:
                plain = name.endswith(".bias") or "LayerNorm" in name
                task.setdefault((name.startswith("classifier"), plain), []).append(parameter)
        self.groups = {
            "task": [{"params": params, "weight_decay": 0.0 if plain else decay,
                      "lr": settings["optim.head_lr" if head else "optim.lr"]} for (head, plain), params in task.items()],
            "discriminator": [{"params": list(twin.discriminator.parameters()), "lr": settings["adversary.discriminator_lr"],
                               "weight_decay": 0.0}],
            "generator": [{"params": [p for p in twin.bert.parameters() if p.requires_grad], "lr": settings["adversary.lr"],
                           "weight_decay": settings["adversary.weight_decay"]}]}
        self.optimizers = {loss: torch.optim.AdamW(groups, eps=settings["optim.eps"]) for loss, groups in self.groups.items()}
        self.schedules = {loss: self.schedule(optimizer, total if loss == "task" else -(-total // settings["adversary.every"]))
                          for loss, optimizer in self.optimizers.items()}

    def schedule(self, optimizer: torch.optim.Optimizer, updates: int):
        warmup = round(self.settings["optim.warmup"] * updates)
        if self.settings["optim.schedule"] == "linear":
            return get_linear_schedule_with_warmup(optimizer, warmup, updates)
        return get_constant_schedule_with_warmup(optimizer, warmup)

    def update(self, loss: str, value: torch.Tensor) -> float:
        """Backward, clip, step; no gradient of anything is left.  Returns the norm before clipping."""
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for group in self.groups[loss] for p in group["params"]],
                                              self.settings["optim.clip"] or float("inf")).item()
        self.optimizers[loss].step()
        self.schedules[loss].step()
        self.twin.zero_grad()
        return norm

    def iteration(self, step: int, batches: dict[str, list[Batch]]) -> list[Done]:
        """What each update of iteration `step` did."""
        value = self.twin.task_loss(batches["source"][step])
        done = [Done("task", value.item(), self.update("task", value), None)]
        every = self.settings["adversary.every"]
        losses = ["discriminator", "generator"]
        if self.settings["adversary.order"] == "generator-first":
            losses.reverse()
        for loss in losses if step % every == 0 else []:
            halves = [self.twin.language(batches[f"{side}/{loss}"][step // every], side == "source",
                                         self.settings["adversary.specials"], flipped=loss == "generator")
                      for side in ("source", "target")]
            value = halves[0][0] + halves[1][0]
            done.append(Done(loss, value.item(), self.update(loss, value), (halves[0][1] + halves[1][1]) / 2))
        return done
