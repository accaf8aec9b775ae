"""The BiLSTM-CRF of a run: its words from the training data with random vectors, or from word-vector files."""
from __future__ import annotations

from collections import Counter

import numpy as np

from minixl.building.built import Built, freeze
from minixl.data.corpus import TAGGING, Corpus
from minixl.data.lexicon import Lexicon
from minixl.data.schemes import legal_transitions
from minixl.errors import UserError
from minixl.data.inputs import Inputs
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import WORD_TABLE, BilstmCrfConfig
from minixl.settings import Settings
from minixl.weights.word_vectors import WordVectors, read_vectors


def build_bilstm_crf(settings: Settings, inputs: Inputs, sources: list[Corpus], others: list[Corpus], labels: list[str],
                     scheme: str, seed: int, xp) -> Built:
    """A new tagger; `others` are the texts beside the training data whose words it will meet."""
    _check(settings, inputs)
    if scheme != "none" and settings["model.constrained_training"]:
        _check_lengths(sources, settings)
    messages: list[str] = []
    sentences = [s.words for corpus in sources for s in corpus.sentences()]
    lexicon = Lexicon.from_sentences(sentences)
    table: np.ndarray | None = None
    if inputs.vectors:
        words, table = _word_table(settings, inputs, [*sources, *others], messages)
        lexicon = Lexicon.for_vectors(words, lexicon.alphabet, sentences if settings["model.train_vectors"] else ())
    config = BilstmCrfConfig(
        lexicon.vocabulary_size, lexicon.alphabet_size,
        word_size=settings["model.word_size"] if table is None else table.shape[1],
        char_size=settings["model.char_size"], char_hidden=settings["model.char_hidden"],
        word_hidden=settings["model.word_hidden"], dense_size=settings["model.dense_size"], chars=settings["model.chars"],
        tied=settings["model.tied"], start_end=settings["model.start_end"], variational=settings["model.variational"],
        train_words=table is None or settings["model.train_vectors"],
        dropout=settings["model.dropout"] if settings["model.dropout"] >= 0 else 0.5)
    legal = legal_transitions(labels, scheme) if settings["model.constrained_training"] else None
    model = BilstmCrf(config, labels, lexicon, legal=legal, xp=xp)
    model.initialise(np.random.Generator(np.random.PCG64([seed, 1])))
    if table is not None:
        model.set_word_vectors(table)
    freeze(model, settings["model.freeze"])
    vectors = model.store[WORD_TABLE].value.size
    messages.insert(0, f"bilstm-crf: {model.store.count():,} weights, of which {vectors:,} are vectors of "
                       f"{lexicon.vocabulary_size - 1:,} words; {lexicon.alphabet_size - 1} characters")
    return Built(model, lexicon, config.to_json(), messages)


def _check(settings: Settings, inputs: Inputs) -> None:
    if settings["task"] not in TAGGING:
        raise UserError(f"model.type: bilstm-crf tags words, it does not fit task {settings['task']}; use a transformer")
    if settings["model.pooling"] not in ("auto", "token"):
        raise UserError(f"model.pooling: {settings['model.pooling']} does not fit task {settings['task']}; expected token")
    if inputs.encoder is not None:
        raise UserError(f"--encoder {inputs.encoder}: a bilstm-crf reads word vectors (--vectors), no encoder; leave it out")
    if settings["adversary.level"] != "none" or settings["alignment.average_linkage"]:
        raise UserError("adversary.level, alignment.average_linkage: expected a transformer, found a bilstm-crf; "
                        "--set adversary.level=none --set alignment.average_linkage=false")


def _check_lengths(sources: list[Corpus], settings: Settings) -> None:
    """Raises UserError for a training sentence that would be cut where an entity may stand: half of one is not legal."""
    limit = settings["data.max_length"]
    long = ((corpus.path, s) for corpus in sources for s in corpus.sentences() if len(s.words) > limit)
    for path, sentence in long if settings["data.on_long"] != "error" else ():
        raise UserError(f"{path}:{sentence.line}: the sentence has {len(sentence.words)} words, data.max_length is {limit}, and "
                        "model.constrained_training needs whole sentences, as a cut may divide an entity; "
                        f"--set data.max_length={max(len(s.words) for c in sources for s in c.sentences())}")


def _word_table(settings: Settings, inputs: Inputs, corpora: list[Corpus], messages: list[str]) -> tuple[list[str], np.ndarray]:
    """The words of all --vectors files and their vectors (V, D); a word of several files has the first one's.

    A fastText .bin has vectors for words that are not in it as well: those of the run's texts are added.
    """
    rows: dict[str, np.ndarray] = {}
    size = 0
    for language, path in inputs.vectors:
        vectors = read_vectors(path, top=settings["model.vectors_top"], report=messages.append)
        size = size or vectors.matrix.shape[1]
        if vectors.matrix.shape[1] != size:
            raise UserError(f"--vectors {language}={path}: expected vectors of {size} numbers as in {inputs.vectors[0][1]}, found "
                            f"{vectors.matrix.shape[1]}; all files of a run must be mapped into one space")
        for word, vector in zip(vectors.words, vectors.matrix, strict=True):
            rows.setdefault(word, vector)
        counts = Counter(word for corpus in corpora if corpus.language == language for s in corpus.sentences() for word in s.words)
        _add_unseen(vectors, counts, rows)
        found = vectors.oov_report(counts, language)
        messages.append(str(found))
        if counts and found.tokens["unknown"] == found.tokens.total():
            messages.append(f"warning: --vectors {language}={path}: none of the words of the {language} texts is in it; is it the "
                            "file of this language?")
    return list(rows), np.stack(list(rows.values()))


def _add_unseen(vectors: WordVectors, counts: Counter[str], rows: dict[str, np.ndarray]) -> None:
    for word in counts:
        if word not in rows and vectors.lookup(word) is None:
            vector = vectors.vector(word)
            if vector is not None:
                rows[word] = vector
