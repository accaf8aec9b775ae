"""The families of models by name; a new one is a file beside this and a line here."""
from __future__ import annotations

from minixl.building.bilstm_crf import BilstmCrfFamily
from minixl.building.family import Family
from minixl.building.transformer import TransformerFamily
from minixl.settings import Section, Setting, Settings

FAMILIES: dict[str, Family] = {family.name: family for family in (TransformerFamily(), BilstmCrfFamily())}

SECTION = Section("model", {
    "model.type": Setting("transformer", "family of models", tuple(FAMILIES)),
    "model.scheme": Setting("auto", "tag scheme that the model works in; auto: "
                            + ", ".join(f"{family.scheme} for {name}" for name, family in FAMILIES.items()),
                            ("auto", "IOB2", "IOBES")),
    "model.pooling": Setting("auto", "head of a classifier", ("auto", "token", "mean", "cls")),
    "model.freeze": Setting([], "parameters that are not trained: shell patterns over their names, or the embeddings and a number "
                                "of layers, as in bottom:3"),
    "model.dropout": Setting(-1.0, "dropout of the encoder and the head; -1: as config.json says, 0.5 for bilstm-crf",
                             at_least=0, at_most=0.99, or_else=-1),
})


def family_of(settings: Settings) -> Family:
    """The family of settings["model.type"]."""
    return FAMILIES[settings["model.type"]]


def scheme_of(settings: Settings) -> str:
    """The tag scheme that the model works in: "none" for labels that are no spans."""
    if settings["task"] != "ner":
        return "none"
    return str(settings["model.scheme"]) if settings["model.scheme"] != "auto" else family_of(settings).scheme
