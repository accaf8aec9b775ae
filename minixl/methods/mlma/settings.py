"""The settings of MLMA: the sizes and the training of the language model, and the weights of its alignment terms."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minixl.building import language_model
from minixl.data.limits import FIRST
from minixl.errors import UserError
from minixl.methods.measures import MOMENTS, NORMS
from minixl.methods.mlma.language_model import SEPARATE, SIDES
from minixl.settings import Section, Setting, Settings

NAME = "mlma"


def used(settings: Mapping[str, Any]) -> bool:
    """Whether a run with these settings may train a language model."""
    return bool(settings["method"] == NAME)


SECTIONS = (
    Section("mlma: terms that align the languages of the language model", {
        "mlma.average_linkage": Setting(1.0, "weight of average linkage (energy distance) between the layers of each pair of "
                                        "languages; 0: none", at_least=0),
        "mlma.cosine_linkage": Setting(0.0, "weight of average linkage with the cosine distance; 0: none", at_least=0),
        "mlma.mean": Setting(0.0, "weight of the distance between the means of the layers, 0.1 in the paper; 0: none", at_least=0),
        "mlma.deviation": Setting(0.0, "weight of the distance between their standard deviations, 0.01 in the paper; 0: none",
                                  at_least=0),
        "mlma.moments": Setting(MOMENTS, "how means and deviations are compared: dimension by dimension, as in the paper's code, "
                                "or means and variances as whole vectors, as the paper says", (MOMENTS, NORMS)),
        "mlma.identical_strings": Setting(0.0, "weight of the distance between the vectors of words that two vocabularies share, "
                                          "100 in the paper; 0: none", at_least=0),
        "mlma.layer_weights": Setting([], "factor of the terms of each layer, from the bottom, separated by commas: one more than "
                                      "language_model.layers; empty: 1 for all"),
        "mlma.directions": Setting(SEPARATE, "compare the layers of each direction on their own, as the paper's code does, or both "
                                   "directions together, as the paper says", SIDES),
    }, used=used),
    language_model.SECTION,
    Section("mlma: training the language model", {
        "language_model.samples": Setting(8192, "words among which a word is predicted in training, drawn at every step; at most a "
                                          "quarter of the vocabulary, and all of a vocabulary of 1000 words or fewer; 0: all",
                                          at_least=0),
        "language_model.tokens": Setting(4096, "about how many words of each language a step reads", at_least=1),
        "language_model.steps": Setting(400000, "steps", at_least=1),
        "language_model.max_minutes": Setting(0.0, "stop after N minutes of training; 0: no limit", at_least=0),
        "language_model.lr": Setting(1e-4, "learning rate of Adam, the same for all steps", at_least=0),
        "language_model.clip": Setting(5.0, "limit on the norm of all gradients together; 0: no limit", at_least=0),
        "language_model.frozen_steps": Setting(200000, "with --vectors: steps in which the word vectors stay as they are",
                                               at_least=0),
        "language_model.full_steps": Setting(600000, "with --vectors: step at which their learning rate, which rises from "
                                             "frozen_steps on, is language_model.lr", at_least=0),
        "language_model.held_out": Setting(500, "sentences of each language that are not trained on, for perplexity", at_least=1),
        "language_model.eval_every": Setting(5000, "measure perplexity every N steps", at_least=1),
        "language_model.seed": Setting(1, "seed of the language model, which all seeds of a run share; without --source it is that "
                                       "of the run", at_least=0),
    }, used=used),
)


def check_settings(settings: Settings) -> None:
    """Raises UserError for settings that exclude each other."""
    shortest, longest = settings["language_model.shortest"], settings["language_model.longest"]
    if shortest > longest:
        raise UserError(f"language_model.longest: expected at least language_model.shortest={shortest}, found {longest}")
    if settings["data.unlabelled_limit"] and settings["data.sample"] != FIRST:
        raise UserError(f"data.sample: expected {FIRST}, since the language model reads its text line by line, found "
                        f"{settings['data.sample']}; shuffle the file, or --set data.unlabelled_limit=0")
    hidden, heads = settings["language_model.hidden"], settings["language_model.heads"]
    if hidden % heads or hidden % 2:
        raise UserError(f"language_model.hidden: expected an even multiple of language_model.heads={heads}, found {hidden}")
    weights, layers = settings["mlma.layer_weights"], settings["language_model.layers"] + 1
    if weights and (len(weights) != layers or not all(_is_weight(weight) for weight in weights)):
        raise UserError(f"mlma.layer_weights: expected {layers} numbers, 0 or more (language_model.layers + 1), found "
                        f"{', '.join(weights)}")


def _is_weight(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


def stage_settings(settings: Settings) -> Settings:
    """Return the settings with which the language model is trained: the loop's are those of language_model.*."""
    return settings.override([
        f"train.max_minutes={settings['language_model.max_minutes']}",
        f"train.eval_every={settings['language_model.eval_every']}", f"optim.clip={settings['language_model.clip']}",
        f"train.max_steps={settings['language_model.steps']}", "train.epochs=0", "train.patience=0", "train.score_tests=false"])
