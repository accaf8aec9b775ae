"""What the contenders in PyTorch share: freezing parameters and the update from a loss."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch


def freeze(model: torch.nn.Module, names: Sequence[str]) -> list[torch.nn.Parameter]:
    """Freeze the parameters with these names; return the ones left to train."""
    for name in names:
        model.get_parameter(name).requires_grad_(False)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def update(loss: torch.Tensor, parameters: Iterable[torch.Tensor], optimizer: torch.optim.Optimizer, clip: float) -> float:
    """Backward, clip the gradients of `parameters`, update, drop the gradients; returns the loss."""
    loss.backward()
    if clip:
        torch.nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())
