"""Map the many spellings of BERT parameter names to the one that minixl uses.

    embeddings.LayerNorm.gamma             ->  bert.embeddings.LayerNorm.weight
    bert.encoder.layer.0.output.dense.bias ->  the same
    classifier.weight                      ->  the same, as for every name outside the encoder

Test: tests/weights/test_names.py
"""
from __future__ import annotations

import re
from collections.abc import Iterable

from minixl.errors import UserError

ENCODER = ("embeddings.", "encoder.", "pooler.")
OLD_LAYER_NORM = {"gamma": "weight", "beta": "bias"}   # the names of the first TensorFlow checkpoints


def canonical_name(name: str) -> str:
    """Return minixl's name for a stored name: encoder parameters under `bert.`, LayerNorm with weight and bias."""
    rest = name.removeprefix("bert.")
    if rest.startswith(ENCODER):
        name = f"bert.{rest}"
    return re.sub(r"(LayerNorm\.)(gamma|beta)$", lambda match: match[1] + OLD_LAYER_NORM[match[2]], name)


def canonical_names(names: Iterable[str], where: str) -> dict[str, str]:
    """Map canonical names to stored names.  Raises UserError if two stored names mean the same parameter."""
    stored: dict[str, str] = {}
    for name in names:
        other = stored.setdefault(canonical_name(name), name)
        if other != name:
            raise UserError(f"{where}: {other!r} and {name!r} are both the parameter {canonical_name(name)!r}")
    return stored


def summarise_names(names: Iterable[str], most: int = 6) -> str:
    """Summarise names by group, as 'cls.* (6), bert.pooler.* (2), extra'."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        groups.setdefault(".".join(parts[:2 if parts[0] == "bert" else 1]), []).append(name)
    summaries = [f"{group}.* ({len(members)})" if len(members) > 1 else members[0] for group, members in groups.items()]
    left = sum(len(members) for members in list(groups.values())[most:])
    return ", ".join(summaries[:most]) + (f" and {left} more" if left else "")
