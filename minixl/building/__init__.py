"""Build, save and load the model of a run and its tokenizer, by model.type.

    families.py      the table of families, and their common settings
    family.py        the base class of a family
    transformer.py   an encoder folder with a head over the labels of the training data
    bilstm_crf.py    word and character LSTMs with a CRF
    augmented_tagger.py   the same with a second encoder for the target language
    mlma_tagger.py   LSTMs with a CRF on the layers of a language model of several languages
    language_model.py   that language model: vocabularies, a new one, its folder
    folder.py        model folders: Hugging Face's files, minixl.json (info.py), a model card
"""
from __future__ import annotations

from minixl.building.families import FAMILIES, family_of, scheme_of
from minixl.building.family import Family, NewModel, Request
from minixl.building.folder import load_info, load_model, save_model
from minixl.building.info import ModelInfo
from minixl.errors import UserError

__all__ = ["FAMILIES", "Family", "ModelInfo", "NewModel", "Request", "build", "family_of", "load_info", "load_model", "save_model",
           "scheme_of"]


def build(request: Request) -> NewModel:
    """Build the model of settings["model.type"], and freeze the parameters that model.freeze names."""
    family = family_of(request.settings)
    new = family.build(request)
    family.freeze(new.model, request.settings["model.freeze"])
    store = new.model.store
    if not new.model.task_names():
        raise UserError(f"model.freeze: {', '.join(request.settings['model.freeze'])} leaves no parameter to train; "
                        "freeze fewer, for example bottom:3")
    frozen = store.names(trainable=False)
    if frozen:
        weights = f"{store.count(trainable=True):,} of {store.count():,} weights"
        new.messages.append(f"frozen: {len(frozen)} of {len(store)} parameters; trained: {weights}")
    family.check_model(request.settings, new.model)
    return new
