"""The losses of every update of objectives.py in PyTorch, on the batches of the first step, without dropout."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minixl.data.batching import Batch
from minixl.data.monolingual import Sentences
from minixl.methods.advpicker.student import Distillation
from minixl.methods.languages import join
from minixl.methods.linkage import LOSS as LINKAGE
from minixl.methods.mlma.language_model import LanguageModeling
from minixl.methods.perturbation import PERTURBED, Perturbation
from minixl.methods.zero_resource.augmented import TARGET, Augmented
from minixl.models.bidirectional_lm import targets_of
from minixl.models.bidirectional_lm_config import DIRECTIONS, word_table
from minixl.models.discriminators import judged
from minixl.study import pytorch
from minixl.study.pytorch_models import Params, bert, linear, logits, loss, stacks
from minixl.training.objective import TASK, Objective


def losses(objective: Objective) -> Iterator[tuple[str, Callable[[Params], Tensor]]]:
    """Yield the loss of each update, as a function of the parameters; draws the batches from the objective's streams."""
    model, settings, streams = objective.model, objective.settings, objective.streams
    if isinstance(objective, LanguageModeling):
        batches: dict[str, Any] = {language: next(stream) for language, stream in streams.items()}
        yield TASK, lambda params: _language_model(objective, params, batches)
        return
    parts = getattr(objective, "parts", (objective,))
    main, batch = parts[0], next(streams["source"])
    if isinstance(main, Augmented):
        pseudo = main.target_batch(0)
        yield TASK, lambda params: loss(model.source, params, batch) + loss(model.source, params, pseudo)
        yield TARGET, lambda params: loss(model, params, pseudo)
    elif isinstance(main, Distillation):
        yield TASK, lambda params: _distillation(main, params, batch)
    else:
        shifts = [torch.tensor(part.shifts([batch], part.noise([batch], 0, PERTURBED))[0])
                  for part in parts if isinstance(part, Perturbation)]
        yield TASK, lambda params: loss(model, params, batch) + sum(loss(model, params, batch, shift) for shift in shifts)
    for name in ("discriminator", "generator"):
        if name in objective.losses:
            source, target = next(streams[f"source/{name}"]), next(streams[f"target/{name}"])
            yield name, lambda params, name=name, source=source, target=target: _languages(     # type: ignore[misc]
                model, params, source, target, flipped=name == "generator", specials=settings["adversary.specials"])
    if LINKAGE in objective.losses:
        source, target = next(streams["source/linkage"]), next(streams["target/linkage"])
        yield LINKAGE, lambda params: _linkage(model, params, source, target, settings["linkage.level"])


def _language_model(objective: LanguageModeling, params: Params, batches: dict[str, Sentences]) -> Tensor:
    """Return the mean of the languages' losses and the alignment terms of their layers and word tables."""
    settings, languages, config = objective.settings, list(batches), objective.model.config
    layers, total = {}, torch.zeros((), dtype=torch.float64)
    for language, batch in batches.items():
        table = params[word_table(language)]
        layers[language] = stacks(config, params, pytorch.embedding(table, batch.ids), batch.starts)
        for direction in DIRECTIONS:
            targets, candidates = targets_of(batch.ids, batch.starts, direction), objective.candidates(language, direction, 0)
            total = total + pytorch.sampled_softmax(layers[language][direction][-1], table, targets, candidates) / len(languages)
    for first, second in combinations(languages, 2):
        for direction in DIRECTIONS:
            for x, y in zip(layers[first][direction], layers[second][direction], strict=True):
                total = total + settings["mlma.average_linkage"] * pytorch.average_linkage(x, y) / (len(languages) - 1)
                total = total + settings["mlma.cosine_linkage"] * pytorch.cosine_linkage(x, y) / (len(languages) - 1)
                total = total + pytorch.moment_distance(x, y, settings["mlma.mean"], settings["mlma.deviation"])
        rows, others = objective.identical[first, second]
        total = total + settings["mlma.identical_strings"] / (len(languages) - 1) * pytorch.identical_strings(
            params[word_table(first)], params[word_table(second)], rows, others)
    return total


def _distillation(objective: Distillation, params: Params, batch: Batch) -> Tensor:
    temperature = objective.settings["distill.temperature"]
    return pytorch.soft_squared_error(logits(objective.model, params, batch) / temperature, objective.loss.targets[batch.labels])


def _languages(model: Any, params: Params, source: Batch, target: Batch, *, flipped: bool, specials: bool) -> Tensor:
    """Return the mean over the source's logits plus that over the target's."""
    total = torch.zeros((), dtype=torch.float64)
    for batch, label in ((source, 1.0), (target, 0.0)):
        hidden = bert(model, params, batch)
        rows, starts = judged(batch.starts, specials)
        hidden = hidden if rows is None else hidden[rows]
        if model.discriminator == "sentence":
            scores = linear(params, "discriminator", pytorch.mean_pooling(hidden, starts))
        else:
            scores = linear(params, "discriminator.out", torch.relu(linear(params, "discriminator.dense", hidden)))
        total = total + pytorch.binary_cross_entropy(scores[:, 0], np.full(len(scores), 1 - label if flipped else label))
    return total


def _linkage(model: Any, params: Params, source: Batch, target: Batch, level: str) -> Tensor:
    both = join(source, target)
    points, border = bert(model, params, both), source.tokens
    if level == "sentence":
        points, border = pytorch.mean_pooling(points, both.starts), len(source.order)
    return pytorch.average_linkage(points[:border], points[border:])
