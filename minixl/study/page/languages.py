"""The updates of a step side by side: which parts of the model each moved, and the discriminator before and after its own."""
from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from minixl.models.discriminators import SOURCE
from minixl.study.events import FORWARD, OpCall, Recording, UpdateRecord

DISCRIMINATOR = "discriminator"


def block_of(name: str) -> str:
    """Return the part of the model that a parameter is in: a layer, the embeddings, or the first part of its name."""
    layer = re.match(r".*\.layer\.\d+(?=\.)", name)
    parts = name.split(".")
    return layer[0] if layer else ".".join(parts[:2]) if parts[0] == "bert" else parts[0]


def moved_blocks(recording: Recording) -> tuple[list[str], list[list[float | None]]]:
    """Return the parts of the model, and for each the norm of its change in every update; None: not in the update's subset."""
    updates, blocks = recording.update_records(), list(dict.fromkeys(map(block_of, recording.before)))
    rows: list[list[float | None]] = []
    for block in blocks:
        changes = [[one.change_norm for name, one in update.parameters.items() if block_of(name) == block] for update in updates]
        rows.append([float(np.linalg.norm(change)) if change else None for change in changes])
    return blocks, rows


def accuracies(recording: Recording) -> tuple[float, float] | None:
    """Return the discriminator's accuracy on the batch of its update, before and after the update; None without one.

    The encoder's states are those of the update, with its dropout masks: only the discriminator has changed.
    """
    phase = _phase(recording, DISCRIMINATOR)
    losses = [call for call in phase if call.op == "binary_cross_entropy" and call.kind == FORWARD]
    inner = next((call for call in phase if call.op == "linear" and call.site.startswith(DISCRIMINATOR)), None)
    if inner is None or not losses:
        return None
    inputs = [call.arguments["x"] for call in phase
              if call.op == "linear" and call.kind == FORWARD and call.site.partition("#")[0] == inner.site]
    targets = np.concatenate([call.arguments["targets"] for call in losses])
    return (_accuracy(np.concatenate([call.arguments["logits"] for call in losses]), targets),
            _accuracy(np.concatenate([_logits(x, recording) for x in inputs]), targets))


def _phase(recording: Recording, loss: str) -> list[OpCall]:
    """Return the calls that led to the update by a loss."""
    calls: list[OpCall] = []
    for event in recording.events:
        if not isinstance(event, UpdateRecord):
            calls.append(event)
        elif event.loss == loss:
            return calls
        else:
            calls = []
    return []


def _logits(x: np.ndarray, recording: Recording) -> np.ndarray:
    """x (J, H), what the discriminator reads -> its logits (J,) after the step."""
    values = recording.after
    if f"{DISCRIMINATOR}.weight" in values:
        return (x @ values[f"{DISCRIMINATOR}.weight"].T + values[f"{DISCRIMINATOR}.bias"])[:, 0]
    hidden = np.maximum(x @ values[f"{DISCRIMINATOR}.dense.weight"].T + values[f"{DISCRIMINATOR}.dense.bias"], 0)
    return (hidden @ values[f"{DISCRIMINATOR}.out.weight"].T + values[f"{DISCRIMINATOR}.out.bias"])[:, 0]


def _accuracy(logits: np.ndarray, targets: Sequence[float] | np.ndarray) -> float:
    """Return the mean over both languages of the share that is classified correctly."""
    source = np.asarray(targets) == SOURCE
    return float(((logits > 0)[source].mean() + (logits <= 0)[~source].mean()) / 2)
