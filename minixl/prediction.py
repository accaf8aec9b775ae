"""Applies a trained model to text: scores, decoded tags, confidences.

    model = minixl.load("runs/es/model")
    model.predict(["Angela Merkel visitó Sevilla."])
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module, array_module_for, to_numpy
from minixl.building import ModelInfo, load_model
from minixl.data.batching import TOKENS, batch_results
from minixl.data.encoding import Encoded, PieceTokenizer, encode_documents, encode_sentences
from minixl.data.examples import Document, Sentence
from minixl.data.schemes import legal_transitions, paths_to_tags, spans
from minixl.data.words import split_words
from minixl.errors import UserError
from minixl.models.family import Model
from minixl.ops.viterbi import viterbi
from minixl.packing import starts_of

SPLIT_IT = "split it; a model that was trained with --set data.on_long=window reads it in windows"


class WordScores(NamedTuple):
    """The scores of all words of all sentences, on the model's device: log-probabilities, or the emissions of a CRF."""

    values: Array         # (W, K)
    starts: np.ndarray    # (N+1,)  on the CPU: where each sentence begins


def word_scores(model: Model, encoded: Encoded, *, tokens: int = TOKENS,
                progress: Callable[[int], None] | None = None) -> WordScores:
    """Return a tagger's scores of all words, sentence by sentence; those of a long sentence are joined from its windows."""
    xp, examples = model.store.xp, encoded.examples
    parts, computed = [xp.zeros((0, len(model.labels)), model.store.dtype)], [np.zeros(0, int)]
    for _, indices, scores in batch_results(model.scores, examples, tokens, xp, progress, shared=True):
        parts.append(_without_nan(scores))
        computed.append(indices)
    order = np.concatenate(computed)                                       # (E,)  in which the examples were computed
    words = np.array([len(example.rows) for example in examples], int)     # (E,)
    sources = np.array([example.source for example in examples], int)      # (E,)
    begins = np.empty(len(examples), int)
    begins[order] = starts_of(words[order])[:-1]
    wanted = np.argsort(sources, kind="stable")                            # stable: the windows of a sentence stay in order
    starts = starts_of(words[wanted])
    rows = np.arange(starts[-1]) + np.repeat(begins[wanted] - starts[:-1], words[wanted])
    return WordScores(xp.concatenate(parts)[xp.asarray(rows)],
                      starts_of(np.bincount(sources, words, encoded.sources).astype(int)))


def source_scores(model: Model, encoded: Encoded, *, tokens: int = TOKENS,
                  progress: Callable[[int], None] | None = None) -> list[np.ndarray]:
    """Return the model's scores of every source: (words, K) of a sentence, (K,) of a document (the mean over its windows).

    Log-probabilities, or the emissions of a CRF.
    """
    if model.pooling == "token":
        scores = word_scores(model, encoded, tokens=tokens, progress=progress)
        return np.split(to_numpy(scores.values), scores.starts[1:-1]) if encoded.sources else []
    windows: list[Any] = [None] * len(encoded.examples)
    for _, indices, of_batch in batch_results(model.scores, encoded.examples, tokens, model.store.xp, progress, shared=True):
        for i, values in zip(indices, to_numpy(_without_nan(of_batch)), strict=True):
            windows[i] = values
    sources: list[list[np.ndarray]] = [[] for _ in range(encoded.sources)]
    for example, values in zip(encoded.examples, windows, strict=True):
        sources[example.source].append(values)
    return [np.mean(parts, axis=0) for parts in sources]


def _without_nan(scores: Array) -> Array:
    """Return the scores.  Raises FloatingPointError when one is NaN."""
    if bool(array_module(scores).isnan(scores).any()):
        raise FloatingPointError("the model's scores became nan: the learning rate (optim.lr) was too high")
    return scores


def decode_tags(scores: Sequence[np.ndarray], labels: Sequence[str], scheme: str, *, constrained: bool = True,
                decoder: Mapping[str, Any] | None = None) -> list[list[str]]:
    """Return the best tag sequence of every sentence, of those that the scheme allows if `constrained`; spans are in IOB2.

    scores: (words, K) of every sentence; decoder: the result of model.decoder().
    """
    if not scores:
        return []
    packed, added = packed_scores(scores), {name: to_numpy(value) for name, value in (decoder or {}).items()}
    return paths_to_tags(best_paths(packed, labels, scheme, constrained, added), packed.starts, labels, scheme)


def packed_scores(scores: Sequence[np.ndarray]) -> WordScores:
    """Pack scores (words, K) of every sentence."""
    return WordScores(np.concatenate(scores), starts_of(map(len, scores)))


def best_paths(scores: WordScores, labels: Sequence[str], scheme: str, constrained: bool,
               decoder: Mapping[str, Any] | None) -> Array:
    """Return the class numbers (W,) of all words of all sentences, on the device of the scores."""
    legal = legal_transitions(labels, scheme) if constrained else None
    return viterbi(scores.values, scores.starts, legal=legal, **(decoder or {}))[0]


def predict_labels(model: Model, encoded: Encoded, scheme: str, *, constrained: bool = True,
                   progress: Callable[[int], None] | None = None) -> list[Any]:
    """Return the tags of every sentence, or the label of every document.  scheme: that of the model's labels."""
    if model.pooling != "token":
        return [model.labels[int(s.argmax())] for s in source_scores(model, encoded, progress=progress)]
    scores = word_scores(model, encoded, progress=progress)
    paths = to_numpy(best_paths(scores, model.labels, scheme, constrained, model.decoder()))
    return paths_to_tags(paths, scores.starts, model.labels, scheme) if encoded.sources else []


class TaggedSentence(NamedTuple):
    """A tagger's result for one sentence."""

    tags: list[str]                                    # IOB2 or plain tags
    confidences: np.ndarray                            # (words,)  probability of each tag
    entities: list[tuple[str, int, int, float]]        # type, first word, first word after it, confidence


class Predictor:
    """A model folder, ready to use.  `read` counts all inputs so far, and what was cut off."""

    def __init__(self, model: Model, tokenizer: PieceTokenizer, info: ModelInfo) -> None:
        self.model, self.tokenizer, self.info = model, tokenizer, info
        self.read = Encoded([], 0, on_long=info.on_long)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Predictor:
        """Load a model folder, for prediction only: its parameters may be read-only.  Raises UserError when it is not one."""
        return cls(*load_model(Path(folder), xp=array_module_for(device), read_only=True))

    def for_language(self, language: str) -> Predictor:
        """Return a predictor for texts in a language, such as "es"; it matters only to a model with word vectors of several."""
        return Predictor(self.model.for_language(language), self.tokenizer.for_language(language), self.info)

    def tag(self, sentences: Sequence[Sequence[str]], *, threshold: float = 0.0, path: str = "input",
            lines: Sequence[int] = ()) -> list[TaggedSentence]:
        """Tag tokenised sentences.  Words that were cut off get confidence 0 and the tag O, or "_" from a tagger of plain tags.

        threshold: the least confidence, 0 to 1, of an entity, or of a plain tag; words below it get the tag O or "_" and keep
        their confidence.  path, lines: the position of each sentence, for messages; without `lines` they are numbered from 1.
        """
        _check_threshold(threshold)
        if self.model.pooling != "token":
            raise UserError(f"expected a tagger, found a {self.info.task} model")
        sentences = _tokenised(sentences)
        model, info = self.model, self.info
        numbers = lines or range(1, len(sentences) + 1)
        rows = [Sentence(tuple(words), None, line) for words, line in zip(sentences, numbers, strict=True)]
        encoded = encode_sentences(rows, self.tokenizer, None, max_length=info.max_length, on_long=info.on_long, path=path,
                                   fix=SPLIT_IT)
        self.read.add_counts(encoded)
        if not encoded.sources:
            return []
        scores = word_scores(model, encoded)
        starts = scores.starts
        paths = best_paths(scores, model.labels, info.scheme, info.constrained, model.decoder())
        tags = paths_to_tags(to_numpy(paths), starts, model.labels, info.scheme)
        entities_of = [[] if info.task != "ner" else spans(t) for t in tags]
        rows_of = np.array([(start + first, start + end) for start, entities in zip(starts[:-1], entities_of, strict=True)
                            for _, first, end in entities], dtype=np.int64).reshape(-1, 2)
        legal = legal_transitions(model.labels, info.scheme) if info.constrained else None
        words = np.split(to_numpy(model.confidences(scores.values, starts, paths, legal=legal)), starts[1:-1])
        of_spans = iter(to_numpy(model.span_confidences(scores.values, starts, rows_of, paths, legal=legal)).tolist())
        results, untagged = [], "O" if info.task == "ner" else "_"         # "_": an unspecified field in CoNLL-U
        for sentence, sentence_tags, p, entities in zip(sentences, tags, words, entities_of, strict=True):
            cut = len(sentence) - len(sentence_tags)
            answer = TaggedSentence(sentence_tags + [untagged] * cut, np.concatenate([p, np.zeros(cut)]),
                                    [(*span, next(of_spans)) for span in entities])
            results.append(_above(threshold, answer, untagged))
        return results

    def predict(self, texts: Iterable[str], *, threshold: float = 0.0, top: int | None = None, path: str = "input",
                lines: Sequence[int] = ()) -> list[dict[str, Any]]:
        """Return one dictionary per text.

        A classifier returns {"text", "label", "confidence", "probabilities"}.  A tagger returns {"text", "words": [[start,
        end], ...], "tags", "confidences", "entities": [{"type", "text", "start", "end", "first_word", "last_word",
        "confidence"}]}: offsets count characters, end exclusive; "confidences" has the probability of each tag; an entity's
        confidence is the geometric mean of these, or with a CRF the probability of the span.  Plain tags have no entities.
        threshold: the least confidence, 0 to 1, of a label, an entity or a plain tag; below it a label is None and a tag O or "_".
        top: how many of the most probable classes "probabilities" has, the best first; None: all, in the order of the labels.
        path, lines: the position of each text, for messages; without `lines` they are numbered from 1.
        """
        texts = _strings(texts, "predict: expected a list of strings", "; use predict([text])")
        _check_threshold(threshold)
        if self.model.pooling != "token":
            return self._classify(texts, threshold, top, path, lines or range(1, len(texts) + 1))
        if top is not None:
            raise UserError(f"top: expected a classifier, found a {self.info.task} model")
        return self._tag_texts(texts, [split_words(text) for text in texts], threshold, path, lines)

    def predict_words(self, sentences: Sequence[Sequence[str]], *, threshold: float = 0.0, path: str = "input",
                      lines: Sequence[int] = ()) -> list[dict[str, Any]]:
        """Return what `predict` returns for a tagger, for sentences that are split; "text" is their words joined by spaces."""
        sentences = _tokenised(sentences)
        ranges = []
        for words in sentences:
            ends = np.cumsum([len(word) + 1 for word in words]).tolist()
            ranges.append([(end - len(word) - 1, end - 1) for word, end in zip(words, ends, strict=True)])
        return self._tag_texts([" ".join(words) for words in sentences], ranges, threshold, path, lines)

    def _classify(self, texts: Sequence[str], threshold: float, top: int | None, path: str,
                  lines: Sequence[int]) -> list[dict[str, Any]]:
        if top is not None and (not isinstance(top, int) or top < 1):
            raise UserError(f"top: expected a number of classes from 1, got {top!r}")
        documents = [Document(text, None, line) for text, line in zip(texts, lines, strict=True)]
        encoded = encode_documents(documents, self.tokenizer, None, max_length=self.info.max_length, on_long=self.info.on_long,
                                   path=path, fix=SPLIT_IT)
        self.read.add_counts(encoded)
        results = []
        for text, log_probs in zip(texts, source_scores(self.model, encoded), strict=True):
            probs = np.exp(log_probs)
            probs /= probs.sum()                                       # a mean of log-probabilities is not normalised
            best = int(probs.argmax())
            shown = range(len(probs)) if top is None else np.argsort(-probs, kind="stable")[:top]
            results.append({"text": text, "label": self.model.labels[best] if probs[best] >= threshold else None,
                            "confidence": round(float(probs[best]), 4),
                            "probabilities": {self.model.labels[i]: round(float(probs[i]), 4) for i in shown}})
        return results

    def _tag_texts(self, texts: Sequence[str], words: Sequence[list[tuple[int, int]]], threshold: float, path: str,
                   lines: Sequence[int]) -> list[dict[str, Any]]:
        """Tag the words of texts.  words: their character ranges."""
        tagged = self.tag([[text[a:b] for a, b in ranges] for text, ranges in zip(texts, words, strict=True)],
                          threshold=threshold, path=path, lines=lines)
        results = []
        for text, ranges, answer in zip(texts, words, tagged, strict=True):
            entry: dict[str, Any] = {"text": text, "words": [list(r) for r in ranges], "tags": answer.tags,
                                     "confidences": [round(p, 4) for p in answer.confidences.tolist()]}
            if self.info.task == "ner":
                entry["entities"] = [self._entity(text, ranges, *span) for span in answer.entities]
            results.append(entry)
        return results

    @staticmethod
    def _entity(text: str, ranges: list[tuple[int, int]], kind: str, first: int, end: int, confidence: float) -> dict[str, Any]:
        start, stop = ranges[first][0], ranges[end - 1][1]
        return {"type": kind, "text": text[start:stop], "start": start, "end": stop, "first_word": first,
                "last_word": end - 1, "confidence": round(confidence, 4)}


def _check_threshold(threshold: float) -> None:
    if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:             # nan is not in the range either
        raise UserError(f"threshold: expected a number from 0 to 1, got {threshold!r}")


def _above(threshold: float, answer: TaggedSentence, untagged: str) -> TaggedSentence:
    """Return the answer with the tags of entities, or plain tags, of less confidence replaced by `untagged`."""
    if untagged != "O":
        tags = [tag if p >= threshold else untagged for tag, p in zip(answer.tags, answer.confidences, strict=True)]
        return answer._replace(tags=tags)
    entities = [entity for entity in answer.entities if entity[3] >= threshold]
    if len(entities) == len(answer.entities):
        return answer
    kept = {i for _, first, end, _ in entities for i in range(first, end)}
    tags = [tag if i in kept else untagged for i, tag in enumerate(answer.tags)]
    return answer._replace(tags=tags, entities=entities)


def _tokenised(sentences: Any) -> list[list[str]]:
    """Return the words of every sentence.  Raises TypeError or ValueError for anything else."""
    if isinstance(sentences, str) or not isinstance(sentences, Iterable):
        problem = "one string" if isinstance(sentences, str) else type(sentences).__name__
        raise TypeError(f"tag: expected a list of sentences, each a list of words, got {problem}")
    lists = [_strings(words, f"tag: sentence at index {i}: expected a list of words", "; split it into words")
             for i, words in enumerate(sentences)]
    for i, words in enumerate(lists):
        for j, word in enumerate(words):
            if not word.strip(" ") or "\t" in word or "\n" in word:          # other spaces belong to words, as in columns
                raise ValueError(f"tag: sentence at index {i}: expected words, got {word[:40]!a} at index {j}; leave out blank "
                                 "words and split at tabs and line ends")
    return lists


def _strings(values: Any, expected: str, fix: str) -> list[str]:
    """Return a list of strings that can be encoded.  Raises TypeError or ValueError; fix: what to do with one string."""
    if isinstance(values, str):
        raise TypeError(f"{expected}, got one string{fix}")
    if not isinstance(values, Iterable):
        raise TypeError(f"{expected}, got {type(values).__name__}")
    values = list(values)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(f"{expected}, got {type(value).__name__} at index {i}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{expected}, got the lone surrogate {value[error.start]!a} in {value[:40]!a} at index {i}; decode "
                             "the text again with its own encoding") from None
    return values
