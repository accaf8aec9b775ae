"""The model of a run and its tokenizer, by model.type: built, saved, loaded.

    families.py      the table of families, and the settings they share
    family.py        what a family has to define
    transformer.py   an encoder folder with a head over the labels of the training data
    bilstm_crf.py    word and character LSTMs with a CRF
    folder.py        model folders: Hugging Face's files, minixl.json (info.py), a model card
"""
from __future__ import annotations

from minixl.building.families import FAMILIES, family_of, scheme_of
from minixl.building.family import Built, Family, Request
from minixl.building.folder import load_info, load_model, save_model
from minixl.building.info import ModelInfo
from minixl.errors import UserError

__all__ = ["FAMILIES", "Built", "Family", "ModelInfo", "Request", "build", "family_of", "load_info", "load_model", "save_model",
           "scheme_of"]


def build(request: Request) -> Built:
    """The model of settings["model.type"], initialised or loaded, frozen as asked."""
    family = family_of(request.settings)
    built = family.build(request)
    family.freeze(built.model, request.settings["model.freeze"])
    store = built.model.store
    if not built.model.task_names():
        raise UserError(f"model.freeze: {', '.join(request.settings['model.freeze'])} leaves no parameter to train; "
                        "freeze fewer, for example bottom:3")
    frozen = store.names(trainable=False)
    if frozen:
        weights = f"{store.count(trainable=True):,} of {store.count():,} weights"
        built.messages.append(f"frozen: {len(frozen)} of {len(store)} parameters; trained: {weights}")
    family.check_model(request.settings, built.model)
    return built
