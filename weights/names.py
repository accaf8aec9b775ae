"""Map the many spellings of BERT's and XLM-R's parameter names to the one that minixl uses, and back for saving.

    embeddings.LayerNorm.gamma                ->  bert.embeddings.LayerNorm.weight
    bert.encoder.layer.0.output.dense.bias    ->  the same
    roberta.encoder.layer.0.output.dense.bias ->  bert.encoder.layer.0.output.dense.bias
    classifier.dense.weight                   ->  bert.pooler.dense.weight     of XLMRobertaForSequenceClassification, which
    classifier.out_proj.weight                ->  classifier.weight            computes the same as BERT's pooler and classifier
    classifier.weight                         ->  the same, as for every name outside the encoder

Test: tests/weights/test_names.py
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from minixl.errors import UserError
from minixl.models.bert_config import MEAN_POOLED

ENCODER = ("embeddings.", "encoder.", "pooler.")
PREFIXES = {"bert": "bert.", "xlm-roberta": "roberta."}                    # of the encoder's parameters, by model type
OLD_LAYER_NORM = {"gamma": "weight", "beta": "bias"}   # the names of the first TensorFlow checkpoints
POOLER = "bert.pooler.dense."
ROBERTA_HEAD = {"classifier.dense.": POOLER, "classifier.out_proj.": "classifier."}


def canonical_name(name: str) -> str:
    """Return minixl's name for a stored name: encoder parameters under `bert.`, LayerNorm with weight and bias."""
    for theirs, ours in ROBERTA_HEAD.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name_under("bert.", name)


def name_under(prefix: str, name: str) -> str:
    """Return the name with `prefix` if it is the encoder's, LayerNorm with weight and bias."""
    rest = name.removeprefix("bert.").removeprefix("roberta.")
    if rest.startswith(ENCODER):
        name = prefix + rest
    return re.sub(r"(LayerNorm\.)(gamma|beta)$", lambda match: match[1] + OLD_LAYER_NORM[match[2]], name)


def canonical_names(names: Iterable[str], where: str, rename: Callable[[str], str] = canonical_name) -> dict[str, str]:
    """Map canonical names to stored names.  Raises UserError if two stored names mean the same parameter."""
    stored: dict[str, str] = {}
    for name in names:
        other = stored.setdefault(rename(name), name)
        if other != name:
            raise UserError(f"{where}: {other!r} and {name!r} are both the parameter {rename(name)!r}")
    return stored


def names_to_save(names: Iterable[str], model_type: str) -> dict[str, str]:
    """Map minixl's names of a model to those under which transformers looks for them in a model of this type."""
    names, model_type = list(names), model_type.removeprefix(MEAN_POOLED)
    to_save = {name: name_under(PREFIXES.get(model_type, "bert."), name) for name in names}
    if model_type == "xlm-roberta" and any(name.startswith(POOLER) for name in names):
        for theirs, ours in ROBERTA_HEAD.items():
            to_save |= {name: theirs + name.removeprefix(ours) for name in names if name.startswith(ours)}
    return to_save


def summarise_names(names: Iterable[str], most: int = 6) -> str:
    """Summarise names by group, as 'cls.* (6), bert.pooler.* (2), extra'."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        groups.setdefault(".".join(parts[:2 if parts[0] == "bert" else 1]), []).append(name)
    summaries = [f"{group}.* ({len(members)})" if len(members) > 1 else members[0] for group, members in groups.items()]
    left = sum(len(members) for members in list(groups.values())[most:])
    return ", ".join(summaries[:most]) + (f" and {left} more" if left else "")
