"""A bidirectional language model of torch.nn's layers, on padded sentences, with the parameters of a BidirectionalLm."""
from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from minixl.models.bidirectional_lm import BidirectionalLm

PARTS = {"self_attn.out_proj": "attention.output", "linear1": "intermediate", "linear2": "output", "norm1": "attention.LayerNorm",
         "norm2": "LayerNorm"}


class Twin(nn.Module):
    """Its parameters are copies of the model's; `expected` gives them back under the model's names."""

    def __init__(self, model: BidirectionalLm) -> None:
        super().__init__()
        config, value = model.config, lambda name: torch.tensor(model.store[model.prefix + name].value)
        self.config = config
        self.words = nn.ParameterDict({language: nn.Parameter(value(f"words.{language}.weight")) for language in config.languages})
        self.stacks, self.norms = nn.ModuleDict(), nn.ModuleDict()
        for direction in ("forward", "backward"):
            layers = nn.ModuleList()
            for i in range(config.num_hidden_layers):
                layer = nn.TransformerEncoderLayer(config.hidden_size, config.num_attention_heads, config.intermediate_size, 0.0,
                                                   "relu", config.layer_norm_eps, batch_first=True, norm_first=True,
                                                   dtype=torch.float64)
                block = f"{direction}.layer.{i}"
                with torch.no_grad():
                    for kind in ("weight", "bias"):
                        parts = [value(f"{block}.attention.{name}.{kind}") for name in ("query", "key", "value")]
                        getattr(layer.self_attn, f"in_proj_{kind}").copy_(torch.cat(parts))
                        for theirs, ours in PARTS.items():
                            getattr(layer.get_submodule(theirs), kind).copy_(value(f"{block}.{ours}.{kind}"))
                layers.append(layer)
            norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps, dtype=torch.float64)
            with torch.no_grad():
                norm.weight.copy_(value(f"{direction}.LayerNorm.weight"))
                norm.bias.copy_(value(f"{direction}.LayerNorm.bias"))
            self.stacks[direction + "_"], self.norms[direction + "_"] = layers, norm       # "forward" is a method

    def states(self, language: str, ids: np.ndarray, starts: np.ndarray) -> dict[str, list[Tensor]]:
        """The states of all words (T, H), by direction and layer."""
        lengths = np.diff(starts)
        longest = int(lengths.max())
        padded = torch.zeros((len(lengths), longest), dtype=torch.long)
        real = torch.tensor(np.arange(longest) < lengths[:, None])
        padded[real] = torch.tensor(ids)
        hidden = self.config.hidden_size
        positions = torch.zeros((longest, hidden), dtype=torch.float64)
        for place in range(longest):
            for i in range(hidden // 2):
                angle = place / 10_000 ** (i / max(hidden // 2 - 1, 1))
                positions[place, i], positions[place, hidden // 2 + i] = math.sin(angle), math.cos(angle)
        start = self.words[language][padded] * math.sqrt(hidden) + positions
        found: dict[str, list[Tensor]] = {}
        for direction in ("forward", "backward"):
            x, states = start, []
            hidden_later = torch.triu(torch.ones(longest, longest, dtype=torch.bool), 1)
            mask = hidden_later if direction == "forward" else hidden_later.T
            for layer in self.stacks[direction + "_"]:
                states.append(layer.norm1(x)[real])
                x = _attend(layer, x, mask, ~real)
            found[direction] = [*states, self.norms[direction + "_"](x)[real]]
        return found

    def expected(self) -> dict[str, Tensor]:
        """Name of the model's parameter -> its twin here, of which it may be a part."""
        found = {f"words.{language}.weight": table for language, table in self.words.items()}
        for direction in ("forward", "backward"):
            found |= {f"{direction}.LayerNorm.{kind}": getattr(self.norms[direction + "_"], kind) for kind in ("weight", "bias")}
            for i, layer in enumerate(self.stacks[direction + "_"]):
                block, size = f"{direction}.layer.{i}", self.config.hidden_size
                for kind in ("weight", "bias"):
                    joint = getattr(layer.self_attn, f"in_proj_{kind}")
                    for part, name in enumerate(("query", "key", "value")):
                        found[f"{block}.attention.{name}.{kind}"] = _Part(joint, slice(part * size, (part + 1) * size))
                    for theirs, ours in PARTS.items():
                        found[f"{block}.{ours}.{kind}"] = getattr(layer.get_submodule(theirs), kind)
        return found


class _Part:
    """Rows of a parameter, with their gradient."""

    def __init__(self, whole: Tensor, rows: slice) -> None:
        self.whole, self.rows = whole, rows

    @property
    def grad(self) -> Tensor:
        return self.whole.grad[self.rows]

    def detach(self) -> Tensor:
        return self.whole.detach()[self.rows]


def _attend(layer: nn.TransformerEncoderLayer, x: Tensor, mask: Tensor, padding: Tensor) -> Tensor:
    """The layer with a mask that leaves no row of padding without a key: padding comes last, and only padding sees it."""
    count = len(x)
    hidden = mask[None] | padding[:, None, :]
    hidden = hidden & ~torch.eye(len(mask), dtype=torch.bool)[None]                     # every word sees itself
    heads = layer.self_attn.num_heads
    return layer(x, src_mask=hidden.repeat_interleave(heads, 0).reshape(count * heads, *mask.shape))
