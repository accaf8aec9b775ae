"""The families of models by name.  To add a family, write a file beside this one and list it here."""
from __future__ import annotations

from minixl.building.augmented_tagger import AugmentedFamily
from minixl.building.bilstm_crf import BilstmCrfFamily
from minixl.building.family import Family
from minixl.building.mlma_tagger import MlmaTaggerFamily
from minixl.building.transformer import TransformerFamily
from minixl.settings import Section, Setting, Settings

FAMILIES: dict[str, Family] = {family.name: family for family in
                               (TransformerFamily(), BilstmCrfFamily(), AugmentedFamily(), MlmaTaggerFamily())}

SECTION = Section("model", {
    "model.type": Setting("transformer", "family of models", tuple(FAMILIES)),
    "model.scheme": Setting("auto", "tag scheme of the model; auto: "
                            + ", ".join(f"{family.scheme} for {name}" for name, family in FAMILIES.items()),
                            ("auto", "IOB2", "IOBES")),
    "model.pooling": Setting("auto", "head of a classifier", ("auto", "token", "mean", "cls")),
    "model.freeze": Setting([], "parameters not to train: shell patterns of their names; bottom:N is the embeddings and the "
                                "lowest N layers"),
    "model.dropout": Setting(-1.0, "dropout of the encoder and the head; -1: the value in config.json, or 0.5 for bilstm-crf",
                             at_least=0, at_most=0.99, or_else=-1),
    "model.save_dtype": Setting("float32", "precision of the weights in the model folder; float16 halves its size. Training and "
                                           "prediction compute in float32", ("float32", "float16")),
})


def family_of(settings: Settings) -> Family:
    """Return the family of settings["model.type"]."""
    return FAMILIES[settings["model.type"]]


def scheme_of(settings: Settings) -> str:
    """Return the tag scheme of the model; "none" if the labels are not spans."""
    if settings["task"] != "ner":
        return "none"
    return str(settings["model.scheme"]) if settings["model.scheme"] != "auto" else family_of(settings).scheme
