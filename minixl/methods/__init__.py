"""The methods by name: one file each, one paper each; and the terms that a setting adds to any of them."""
from __future__ import annotations

from typing import Any

from minixl.methods.adversary import Adversary
from minixl.methods.composed import Composed
from minixl.methods.advpicker.student import Distill
from minixl.methods.finetune import Finetune
from minixl.methods.language_adversarial import LanguageAdversarial
from minixl.methods.linkage import AverageLinkage
from minixl.settings import Settings

# of AdvPicker it is the student's training; the stages before it: minixl/methods/advpicker/pipeline.py
METHODS: dict[str, Any] = {"finetune": Finetune, "language-adversarial": LanguageAdversarial, "advpicker": Distill}


def chosen_terms(settings: Settings) -> list[Any]:
    """The terms that settings add to the method: a language adversary, the average linkage of two languages."""
    terms: list[Any] = []
    if settings["adversary.level"] != "none" and METHODS[settings["method"]] is not LanguageAdversarial:
        terms.append(Adversary)
    if settings["alignment.average_linkage"]:
        terms.append(AverageLinkage)
    return terms


def stream_texts(settings: Settings) -> dict[str, str]:
    """Stream -> the text it deals out: what the method and the terms added to it read."""
    names = dict(METHODS[settings["method"]].STREAMS)
    for term in chosen_terms(settings):
        names |= term.STREAMS
    return names


def make_method(model: Any, streams: Any, settings: Settings, seed: int, total_steps: int, targets: Any = None) -> Any:
    """settings["method"], and the terms that settings add to it.  targets: the soft labels of a student."""
    arguments = (model, streams, settings, seed, total_steps)
    method = METHODS[settings["method"]](*arguments, **({} if targets is None else {"targets": targets}))
    terms = [term(*arguments) for term in chosen_terms(settings)]
    return Composed(method, terms) if terms else method
