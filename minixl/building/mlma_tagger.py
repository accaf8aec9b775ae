"""The family of taggers on a language model of several languages: --encoder is its folder, or the run trains it first."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minixl.building.bilstm_crf import MLMA, BilstmCrfFamily, dropout_of, legal_moves
from minixl.building.family import NewModel, Request
from minixl.building.info import COPY, ModelInfo
from minixl.building.language_model import config_of, load_into, read_lexicon, read_vocabularies
from minixl.data.batching import KeptStates
from minixl.data.encoding import Example, PieceTokenizer
from minixl.data.examples import TAGGING
from minixl.data.inputs import Inputs
from minixl.data.language_lexicon import LanguageLexicon
from minixl.data.lexicon import Lexicon
from minixl.errors import UserError
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from minixl.models.family import Model
from minixl.models.frozen_bottom import FrozenBottom
from minixl.models.layer_mixing import KINDS, SELF
from minixl.models.mlma_tagger import MlmaTagger, MlmaTaggerConfig, mlma_shapes
from minixl.settings import Section, Setting, Settings
from minixl.weights.folder import check_parameters, load_parameters, read_json

NAME = MLMA


class MlmaTaggerFamily(BilstmCrfFamily):
    """A BiLSTM-CRF on the layers of a fixed language model."""

    name = NAME
    section = Section("model: mlma-tagger", {
        "model.layer_sum": Setting(SELF, "weights of the language model's layers: computed from each word's states, or learned for "
                                   "each dimension", KINDS),
        "model.layer_sum_size": Setting(512, "inner layer that computes the weights of a self-weighted sum", at_least=1),
        "model.states_mb": Setting(4096, "memory for the states of the language model, which are computed once for each sentence, "
                                   "in MiB; those of training sentences beyond it go to disk, others are computed again",
                                   at_least=0),
    }, used=lambda settings: settings["model.type"] == NAME)
    title = f"an {NAME}"

    def check(self, settings: Settings, inputs: Inputs) -> None:
        if settings["task"] not in TAGGING:
            raise UserError(f"model.type: {self.title} tags words, which does not fit task {settings['task']}; use a transformer")
        if settings["model.pooling"] not in ("auto", "token"):
            raise UserError(f"model.pooling: {settings['model.pooling']} does not fit task {settings['task']}; expected token")
        if inputs.encoder is not None:
            read_lexicon(inputs.encoder)                               # report a mistyped folder before reading any file
        elif not inputs.unlabelled:
            raise UserError(f"--unlabelled: {self.title} needs the raw text of every language, from which the run trains a "
                            "language model, or the folder of a trained one (--encoder)")

    def build(self, request: Request) -> NewModel:
        settings, folder = request.settings, request.inputs.encoder
        if folder is None:
            lexicon = read_vocabularies(settings, request.inputs)
            of_language_model = config_of(settings, lexicon)
        else:
            of_language_model, lexicon = read_lexicon(folder)
        words = [s.words for corpus in request.sources for s in corpus.sentences()]
        lexicon = lexicon.with_alphabet(Lexicon.from_sentences(words).alphabet)
        tagger = BilstmCrfConfig(
            lexicon.vocabulary_size, lexicon.alphabet_size, word_size=2 * of_language_model.hidden_size,
            char_size=settings["model.char_size"], char_hidden=settings["model.char_hidden"],
            word_hidden=settings["model.word_hidden"], dense_size=settings["model.dense_size"], chars=settings["model.chars"],
            tied=settings["model.tied"], start_end=settings["model.start_end"], variational=settings["model.variational"],
            dropout=dropout_of(settings))
        config = MlmaTaggerConfig(of_language_model, tagger, settings["model.layer_sum"], settings["model.layer_sum_size"])
        model = MlmaTagger(config, request.labels, lexicon, legal=legal_moves(request), room=settings["model.states_mb"] << 20,
                           xp=request.xp)
        model.initialise(np.random.Generator(np.random.PCG64([request.seed, 1])))
        if folder is not None:
            load_into(model.language_model, folder)
        vocabularies = ", ".join(f"{size:,} words of {language}" for language, size in lexicon.languages.items())
        trained = model.store.count(trainable=True)
        message = (f"{self.name}: {model.store.count():,} weights, of which {trained:,} are trained on tags; a language model of "
                   f"{vocabularies}, {'from ' + str(folder) if folder else 'which this run trains first'}")
        unfinished = "--encoder: expected the folder of a language model; `minixl train mlma` trains one from raw text"
        return NewModel(model, lexicon, config.to_json(), [message], "" if folder else unfinished)

    def kept_states(self, settings: Settings, model: Any, texts: Sequence[Sequence[Example]],
                    folder: Path) -> list[KeptStates | None]:
        """Keep the states of all training sentences, up to model.states_mb in memory, others in an unnamed file in `folder`."""
        kept: list[KeptStates | None] = []
        for text in texts:
            states = FrozenBottom(model, text, memory_bytes=model.room, folder=folder)
            model.room -= 0 if isinstance(states.states, np.memmap) else states.states.nbytes
            kept.append(states)
        return kept

    def load(self, folder: Path, info: ModelInfo, xp: Any, *, read_only: bool = False) -> tuple[Model, PieceTokenizer]:
        lexicon = LanguageLexicon.load(folder)
        config = MlmaTaggerConfig.from_json(read_json(folder / "config.json"), str(folder / "config.json"))
        check_parameters(folder, mlma_shapes(config, len(info.labels)))
        try:
            model = MlmaTagger(config, info.labels, lexicon, xp=xp)
        except UserError as error:
            raise UserError(f"{folder}: {error}, {COPY}") from None
        load_parameters(folder, {parameter.name: parameter.value for parameter in model.store})
        return model, lexicon

    def card(self, info: ModelInfo) -> str:
        return ("a bidirectional LSTM with a conditional random field on the layers of a language model of several languages; "
                "lexicon.json has its words; `minixl predict --language` names the language of the text, otherwise each sentence "
                "is read in the one that knows most of its words")
