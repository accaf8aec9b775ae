"""The family of taggers with a second encoder for the target language: a bilstm-crf that reads other languages with both."""
from __future__ import annotations

from typing import Any

from minixl.building.bilstm_crf import AUGMENTED, BilstmCrfFamily, legal_moves
from minixl.building.family import NewModel, Request
from minixl.building.info import ModelInfo
from minixl.data.lexicon import Lexicon
from minixl.models.augmented_tagger import AugmentedTagger
from minixl.models.bilstm_crf_config import TARGET, BilstmCrfConfig, Shapes, augmented_shapes
from minixl.settings import Section, Setting


class AugmentedFamily(BilstmCrfFamily):
    """Two encoders and one CRF."""

    name = AUGMENTED
    section = Section("model: augmented-tagger", {
        "model.flow": Setting(False, "let the loss of the augmented path train the source encoder, too, not only what comes after"),
    }, used=lambda settings: settings["model.type"] == AUGMENTED)
    title = f"an {AUGMENTED}"

    @staticmethod
    def shapes(config: BilstmCrfConfig, labels: int) -> Shapes:
        return augmented_shapes(config, labels)

    def build(self, request: Request) -> NewModel:
        new = super().build(request)
        added = sum(parameter.value.size for parameter in new.model.store if parameter.name.startswith(TARGET))
        new.messages[0] += f"; the target encoder has {added:,} of the weights"
        return new

    def tagger(self, config: BilstmCrfConfig, request: Request, lexicon: Lexicon) -> AugmentedTagger:
        return AugmentedTagger(config, request.labels, lexicon, legal=legal_moves(request), flow=request.settings["model.flow"],
                               sources=[corpus.language for corpus in request.sources], xp=request.xp)

    def stored(self, config: BilstmCrfConfig, info: ModelInfo, lexicon: Lexicon, xp: Any) -> AugmentedTagger:
        return AugmentedTagger(config, info.labels, lexicon, sources=info.sources, xp=xp)

    def card(self, info: ModelInfo) -> str:
        return (f"{super().card(info)}; text in {', '.join(info.sources)} is read by the source encoder, any other text by both "
                "encoders; `minixl predict --language` names the language")
