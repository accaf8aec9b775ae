"""minixl.json of a model folder: everything that is not in config.json or the weights."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from minixl import __version__
from minixl.data.encoding import ON_LONG, SHORTEST
from minixl.data.schemes import label_set, legal_transitions
from minixl.errors import UserError
from minixl.models.discriminators import DISCRIMINATORS, NO_DISCRIMINATOR
from minixl.weights.reading import read_json

POOLINGS = {"ner": ("token",), "pos": ("token",), "classification": ("mean", "cls")}       # by task
COPY = "copy the model folder again"
LANGUAGE_MODEL = "bidirectional-lm"    # the family of folders that hold a language model, which neither tags nor classifies


@dataclass(frozen=True)
class ModelInfo:
    """The content of minixl.json."""

    task: str
    labels: list[str]
    scheme: str                        # of the labels: "IOB2", "IOBES", or "none" for plain tags and classes
    pooling: str
    max_length: int
    on_long: str = "window"
    family: str = "transformer"
    discriminator: str = "none"        # the language discriminator among the parameters
    discriminator_size: int = 500
    constrained: bool = True
    method: str = ""
    sources: list[str] = field(default_factory=list)
    seed: int = 0
    scores: dict[str, Any] = field(default_factory=dict)
    minixl: str = __version__

    def file_labels(self) -> list[str]:
        """Return the labels as they are read from files: spans in IOB2, whatever the model's scheme."""
        if self.scheme in ("IOB2", "none"):
            return self.labels
        return label_set([self.labels], "IOB2")


def read_info(folder: Path, families: Sequence[str]) -> ModelInfo:
    """Read minixl.json of a model folder.  families: the names of all families."""
    path = folder / "minixl.json"
    if not path.is_file():
        raise UserError(f"{folder}: expected a model folder with minixl.json, found "
                        f"{'none in it' if folder.is_dir() else 'no such folder'}; {_where_a_model_is(folder)}")
    stored = read_json(path)
    if stored.get("family") == LANGUAGE_MODEL:
        raise UserError(f"{folder}: expected a tagger or a classifier, found a language model; `minixl states` writes its states, "
                        f"and minixl train mlma --encoder {folder} trains a tagger on them")
    required = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(ModelInfo)}
    missing = [name for name, needed in required.items() if needed and name not in stored]
    if missing:
        raise UserError(f"{path}: missing: {', '.join(missing)}; {COPY}")
    info = ModelInfo(**{name: value for name, value in stored.items() if name in required})
    _check_values(path, info, families)
    if info.pooling not in POOLINGS.get(info.task, ()):
        raise UserError(f"{path}: expected the task ner or pos with pooling token, or classification with mean or cls, "
                        f"found {info.task!r} with {info.pooling!r}")
    return info


def _where_a_model_is(folder: Path) -> str:
    """Return the fix if there is no model: often it is a run's folder, or the run has not written its model yet."""
    run = folder.parent if folder.name == "model" and not folder.exists() else folder
    inner = next((path.parent for path in (run / "model" / "minixl.json", *sorted(run.glob("seed-*/model/minixl.json")))
                  if path.is_file()), None)
    if inner:
        return f"did you mean {inner}?"
    if (run / "config.toml").is_file():
        return f"the run is not finished, continue it with minixl train --resume --out {run}"
    return "`minixl train` writes one to RUN/model"


def _check_values(path: Path, info: ModelInfo, families: Sequence[str]) -> None:
    """Raises UserError for a value of minixl.json that has the wrong type or is out of range."""
    choices = {"family": families, "on_long": ON_LONG, "discriminator": (NO_DISCRIMINATOR.kind, *DISCRIMINATORS),
               "task": tuple(POOLINGS)}
    for name, fits, expected in (
            *((name, getattr(info, name) in values, f"one of {', '.join(values)}") for name, values in choices.items()),
            *((name, isinstance(getattr(info, name), str), "text") for name in ("scheme", "pooling", "method", "minixl")),
            ("discriminator_size", _is_whole(info.discriminator_size, 1), "a whole number above 0"),
            ("max_length", _is_whole(info.max_length, SHORTEST), f"a whole number, {SHORTEST} or more"),
            ("labels", _are_names(info.labels) and 0 < len(info.labels) == len(set(info.labels)), "a list of different names"),
            ("sources", _are_names(info.sources), "a list of languages"),
            ("constrained", isinstance(info.constrained, bool), "true or false"),
            ("seed", _is_whole(info.seed, 0), "a whole number, 0 or more"),
            ("scores", _are_scores(info.scores), "{language: {figure: number}}")):
        if not fits:
            raise UserError(f"{path}: {name}: expected {expected}, found {repr(getattr(info, name))[:60]}; {COPY}")
    try:
        legal_transitions(info.labels if info.task == "ner" else [], info.scheme)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _is_whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _are_names(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _are_scores(scores: Any) -> bool:
    return isinstance(scores, dict) and all(isinstance(figures, dict) and all(
        isinstance(figures.get(name, 0.0), int | float) for name in ("f1", "accuracy")) for figures in scores.values())
