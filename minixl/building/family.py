"""What every family of models brings: building a model for a run, loading its folder, describing it."""
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
    """The model that a run asks for."""

    settings: Settings
    inputs: Inputs
    sources: Sequence[Corpus]          # the training data
    others: Sequence[Corpus]           # the other texts of the run, whose words the model will meet
    labels: list[str]
    scheme: str                        # of the labels
    seed: int
    discriminator: Discriminator = NO_DISCRIMINATOR    # that the method needs
    xp: Any = np


@dataclass
class Built:
    """A model ready to be trained."""

    model: Model
    tokenizer: PieceTokenizer
    raw_config: Mapping[str, Any]      # becomes the model folder's config.json
    messages: list[str]                # for the user: what was loaded, frozen, not found


class Family:
    """Base class; one instance for each family stands in minixl.building.FAMILIES."""

    name: ClassVar[str]                # model.type
    section: ClassVar[Section]         # settings of its own
    scheme: ClassVar[str]              # for entity tags, where model.scheme is auto
    unit: ClassVar[str]                # what it reads and counts: word pieces or words

    def check(self, settings: Settings, inputs: Inputs) -> None:
        """Raises UserError for settings and inputs that do not fit this family, before any file is read."""

    def check_model(self, settings: Settings, model: Any) -> None:
        """Raises UserError for settings that do not fit the model that was built."""

    def build(self, request: Request) -> Built:
        """A model initialised or loaded, frozen as asked."""
        raise NotImplementedError

    def freeze(self, model: Any, patterns: Sequence[str]) -> None:
        """Freeze the parameters whose names match shell patterns."""
        for pattern in patterns:
            if pattern.startswith("bottom:"):
                raise UserError(f"model.freeze: {pattern}: a {self.name} model has no layers to count; give patterns of names")
            model.store.freeze([pattern])

    def kept_states(self, settings: Settings, model: Any, texts: Sequence[Sequence[Example]],
                    folder: Path) -> list[KeptStates | None]:
        """For each text the states of the frozen layers, computed once and kept; None: nothing is kept."""
        return [None] * len(texts)

    def config(self, info: ModelInfo) -> dict[str, Any]:
        """Entries of config.json that say what the folder holds."""
        return {}

    def load(self, folder: Path, info: ModelInfo, xp: Any) -> tuple[Model, PieceTokenizer]:
        """Read a model folder."""
        raise NotImplementedError

    def card(self, info: ModelInfo) -> str:
        """A line of the model card: how the folder is loaded, or what the model is."""
        raise NotImplementedError
