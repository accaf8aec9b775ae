"""The interface of a family of models: build a model for a run, load its folder, describe it."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minixl.building.info import ModelInfo
from minixl.data.batching import KeptStates
from minixl.data.corpus import Corpus
from minixl.data.encoding import Example, PieceTokenizer
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.models.discriminators import NO_DISCRIMINATOR, Discriminator
from minixl.models.family import Model
from minixl.settings import Section, Settings


class Request(NamedTuple):
    """Everything needed to build the model of a run."""

    settings: Settings
    inputs: Inputs
    sources: Sequence[Corpus]          # the training data
    others: Sequence[Corpus]           # the other texts of the run, which the model will read
    labels: list[str]
    scheme: str                        # of the labels
    seed: int
    discriminator: Discriminator = NO_DISCRIMINATOR    # the one that the method needs
    xp: Any = np
    unlabelled: Sequence[Corpus] = ()  # those of the others that the method learns from


@dataclass
class NewModel:
    """A model ready to be trained."""

    model: Model
    tokenizer: PieceTokenizer
    raw_config: Mapping[str, Any]      # becomes the model folder's config.json
    messages: list[str]                # for the user: parameters that were loaded, frozen or missing
    unfinished: str = ""               # the error for a method that does not train a missing part of the model first


class Family:
    """Base class; minixl.building.FAMILIES has one instance of each family."""

    name: ClassVar[str]                # model.type
    section: ClassVar[Section]         # settings of its own
    scheme: ClassVar[str]              # for entity tags, where model.scheme is auto
    unit: ClassVar[str]                # the units it reads: word pieces or words

    def check(self, settings: Settings, inputs: Inputs) -> None:
        """Raises UserError for settings and inputs that do not fit this family, before any file is read."""

    def check_model(self, settings: Settings, model: Any) -> None:
        """Raises UserError for settings that do not fit the model that was built."""

    def build(self, request: Request) -> NewModel:
        """Initialise a model, or load the encoder's parameters."""
        raise NotImplementedError

    def freeze(self, model: Any, patterns: Sequence[str]) -> None:
        """Freeze the parameters whose names match shell patterns."""
        for pattern in patterns:
            if pattern.startswith("bottom:"):
                raise UserError(f"model.freeze: {pattern}: a {self.name} model has no layers to count; give patterns of names")
            model.store.freeze([pattern])

    def kept_states(self, settings: Settings, model: Any, texts: Sequence[Sequence[Example]],
                    folder: Path) -> list[KeptStates | None]:
        """Compute the states of the frozen layers once for each text and keep them; None: nothing is kept."""
        return [None] * len(texts)

    def config(self, info: ModelInfo, raw_config: Mapping[str, Any]) -> dict[str, Any]:
        """Return config.json of the model folder; raw_config is that of the encoder."""
        return dict(raw_config)

    def code(self, info: ModelInfo, raw_config: Mapping[str, Any]) -> dict[str, str]:
        """Return name -> text of Python files that transformers needs to load the model."""
        return {}

    def load(self, folder: Path, info: ModelInfo, xp: Any, *, read_only: bool = False) -> tuple[Model, PieceTokenizer]:
        """Read a model folder.  read_only: nobody will change the parameters, so a table of word vectors may stay in its file."""
        raise NotImplementedError

    def card(self, info: ModelInfo) -> str:
        """Return a line for the model card: how to load the folder, or what the model is."""
        raise NotImplementedError
