"""The family of BiLSTM-CRF taggers: random vectors for the words of the training data, or the vectors of word-vector files."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from minixl.building.family import Family, NewModel, Request
from minixl.building.info import COPY, ModelInfo
from minixl.data.corpus import Corpus
from minixl.data.encoding import PieceTokenizer
from minixl.data.examples import TAGGING
from minixl.data.inputs import Inputs
from minixl.data.lexicon import Lexicon
from minixl.data.schemes import legal_transitions
from minixl.errors import WARNING, UserError
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import WORD_TABLE, BilstmCrfConfig, Shapes, tagger_shapes
from minixl.models.family import Model
from minixl.ops.viterbi import LegalMoves
from minixl.settings import Section, Setting, Settings
from minixl.weights.folder import check_parameters, load_parameters, read_json
from minixl.weights.names import summarise_names
from minixl.weights.word_vectors import WordVectors, read_vectors

NAME, AUGMENTED, MLMA = TAGGERS = ("bilstm-crf", "augmented-tagger", "mlma-tagger")    # the families that have its settings
DROPOUT = 0.5                          # if model.dropout is -1 (Lample et al. 2016)


class BilstmCrfFamily(Family):
    """Word and character LSTMs with a CRF."""

    name, scheme, unit = NAME, "IOBES", "words"
    section = Section("model: bilstm-crf", {
        "model.word_size": Setting(100, "size of random word embeddings; those of --vectors have their own", at_least=1),
        "model.word_hidden": Setting(100, "states of the word LSTM in each direction", at_least=1),
        "model.dense_size": Setting(100, "size of the tanh layer before the tags; 0: none", at_least=0),
        "model.chars": Setting(True, "read the characters of every word"),
        "model.char_size": Setting(25, "size of character embeddings", at_least=1),
        "model.char_hidden": Setting(25, "states of the character LSTM in each direction", at_least=1),
        "model.tied": Setting(False, "use one LSTM cell for both directions"),
        "model.start_end": Setting(False, "learn scores for the first and the last tag of a sentence"),
        "model.variational": Setting(False, "use one dropout mask for all words of a sentence"),
        "model.train_vectors": Setting(False, "train the vectors of --vectors too; random ones are always trained"),
        "model.constrained_training": Setting(False, "sum in the CRF only over tag sequences that the scheme allows"),
        "model.vectors_top": Setting(200000, "read only the first N words of a --vectors file; 0: all", at_least=0),
    }, used=lambda settings: settings["model.type"] in TAGGERS)
    title: ClassVar[str] = f"a {NAME}"

    def check(self, settings: Settings, inputs: Inputs) -> None:
        if settings["task"] not in TAGGING:
            raise UserError(f"model.type: {self.title} tags words, which does not fit task {settings['task']}; use a transformer")
        if settings["model.pooling"] not in ("auto", "token"):
            raise UserError(f"model.pooling: {settings['model.pooling']} does not fit task {settings['task']}; expected token")
        if inputs.encoder is not None:
            raise UserError(f"--encoder {inputs.encoder}: {self.title} uses word vectors (--vectors), not an encoder; leave it out")

    def build(self, request: Request) -> NewModel:
        settings, inputs, sources = request.settings, request.inputs, request.sources
        if request.scheme != "none" and settings["model.constrained_training"]:
            _check_lengths(sources, settings)
        messages: list[str] = []
        sentences = [s.words for corpus in sources for s in corpus.sentences()]
        lexicon = Lexicon.from_sentences(sentences, [s.words for corpus in request.unlabelled for s in corpus.sentences()])
        table: np.ndarray | None = None
        if inputs.vectors:
            words, table = _word_table(settings, inputs, [*sources, *request.others], messages)
            texts = {corpus.language: [s.words for s in corpus.sentences()] for corpus in sources}
            lexicon = Lexicon.for_vectors(words, lexicon.alphabet, texts if settings["model.train_vectors"] else None)
        config = BilstmCrfConfig(
            lexicon.vocabulary_size, lexicon.alphabet_size,
            word_size=settings["model.word_size"] if table is None else table.shape[1],
            char_size=settings["model.char_size"], char_hidden=settings["model.char_hidden"],
            word_hidden=settings["model.word_hidden"], dense_size=settings["model.dense_size"], chars=settings["model.chars"],
            tied=settings["model.tied"], start_end=settings["model.start_end"], variational=settings["model.variational"],
            train_words=table is None or settings["model.train_vectors"],
            dropout=dropout_of(settings))
        model = self.tagger(config, request, lexicon)
        model.initialise(np.random.Generator(np.random.PCG64([request.seed, 1])))
        if table is not None:
            model.set_word_vectors(table)
        vectors = model.store[WORD_TABLE].value.size
        messages.insert(0, f"{self.name}: {model.store.count():,} weights, of which {vectors:,} are vectors of "
                           f"{lexicon.vocabulary_size - 1:,} words; {lexicon.alphabet_size - 1} characters")
        return NewModel(model, lexicon, config.to_json(), messages)

    @staticmethod
    def shapes(config: BilstmCrfConfig, labels: int) -> Shapes:
        """Return the shapes of a model's parameters."""
        return tagger_shapes(config, labels)

    def tagger(self, config: BilstmCrfConfig, request: Request, lexicon: Lexicon) -> BilstmCrf:
        """Return the model for a run, without values."""
        return BilstmCrf(config, request.labels, lexicon, legal=legal_moves(request), xp=request.xp)

    def stored(self, config: BilstmCrfConfig, info: ModelInfo, lexicon: Lexicon, xp: Any) -> BilstmCrf:
        """Return the model of a folder, without values."""
        return BilstmCrf(config, info.labels, lexicon, xp=xp)

    def load(self, folder: Path, info: ModelInfo, xp: Any, *, read_only: bool = False) -> tuple[Model, PieceTokenizer]:
        lexicon = Lexicon.load(folder)
        config = BilstmCrfConfig.from_json(read_json(folder / "config.json"), str(folder / "config.json"))
        check_parameters(folder, self.shapes(config, len(info.labels)))
        try:
            model = self.stored(config, info, lexicon, xp)
        except UserError as error:
            raise UserError(f"{folder}: {error}, {COPY}") from None
        report = load_parameters(folder, {parameter.name: parameter.value for parameter in model.store})
        if report.unused:
            raise UserError(f"{folder / 'config.json'}: the model it describes has no {summarise_names(report.unused, most=3)}, "
                            f"which the weights have; the files belong to different models, {COPY}")
        return model, lexicon

    def card(self, info: ModelInfo) -> str:
        return ("a bidirectional LSTM with a conditional random field; lexicon.json has its words and characters; other words are "
                "read by their spelling")


def dropout_of(settings: Settings) -> float:
    """Return the dropout of a tagger."""
    return settings["model.dropout"] if settings["model.dropout"] >= 0 else DROPOUT


def legal_moves(request: Request) -> LegalMoves | None:
    """Return the moves between tags that training sums over; None: all."""
    return legal_transitions(request.labels, request.scheme) if request.settings["model.constrained_training"] else None


def _check_lengths(sources: Sequence[Corpus], settings: Settings) -> None:
    """Raises UserError for a training sentence that would be cut: half an entity may not be legal in the scheme."""
    limit = settings["data.max_length"]
    long = ((corpus.path, s) for corpus in sources for s in corpus.sentences() if len(s.words) > limit)
    for path, sentence in long if settings["data.on_long"] != "error" else ():
        raise UserError(f"{sentence.place(path)}: the sentence has {len(sentence.words)} words, data.max_length is {limit}, and "
                        "model.constrained_training needs whole sentences, as a cut may divide an entity; "
                        f"--set data.max_length={max(len(s.words) for c in sources for s in c.sentences())}")


def _word_table(settings: Settings, inputs: Inputs, corpora: Sequence[Corpus], messages: list[str]
                ) -> tuple[dict[str, list[str]], np.ndarray]:
    """Read the words of all --vectors files by language, and their vectors (V, D).

    The first file of a language with a word sets its vector.  A fastText .bin also makes vectors for words that it does not list;
    this adds those of words in the run's texts.
    """
    languages: dict[str, dict[str, np.ndarray]] = {}
    size = 0
    for language, path in inputs.vectors:
        vectors = read_vectors(path, top=settings["model.vectors_top"], report=messages.append)
        size = size or vectors.matrix.shape[1]
        if vectors.matrix.shape[1] != size:
            raise UserError(f"--vectors {language}={path}: expected vectors of {size} numbers as in {inputs.vectors[0][1]}, found "
                            f"{vectors.matrix.shape[1]}; the files of a run must share one vector space")
        rows = languages.setdefault(language, {})
        for word, vector in zip(vectors.words, vectors.matrix, strict=True):
            rows.setdefault(word, vector)
        counts = Counter(word for corpus in corpora if corpus.language == language for s in corpus.sentences() for word in s.words)
        _add_unseen(vectors, counts, rows)
        coverage = vectors.oov_report(counts, language)
        messages.append(str(coverage))
        if counts and coverage.tokens["unknown"] == coverage.tokens.total():
            messages.append(f"{WARNING}--vectors {language}={path}: it has none of the words of the {language} texts; is it for "
                            "another language?")
    return ({language: list(rows) for language, rows in languages.items()},
            np.stack([vector for rows in languages.values() for vector in rows.values()]))


def _add_unseen(vectors: WordVectors, counts: Counter[str], rows: dict[str, np.ndarray]) -> None:
    for word in counts:
        if word not in rows and vectors.lookup(word) is None:
            vector = vectors.vector(word)
            if vector is not None:
                rows[word] = vector
