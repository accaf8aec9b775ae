"""What a trained model says of text: scores, decoded tags, confidences.

    model = minixl.load("runs/es/model")
    model.predict(["Angela Merkel visitó Sevilla."])
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import array_module_for, to_numpy
from minixl.data.batching import TOKENS, prediction_batches
from minixl.data.encoding import Encoded, PieceTokenizer, encode_documents, encode_sentences
from minixl.data.examples import Document, Sentence
from minixl.data.schemes import legal_transitions, spans, written
from minixl.data.words import split_words
from minixl.errors import UserError
from minixl.building.folder import ModelInfo, load_model
from minixl.models.family import Model
from minixl.ops.viterbi import viterbi
from minixl.packing import starts_of

CURE = "split it; a model that was trained with --set data.on_long=window reads it in windows"


def source_scores(model: Model, encoded: Encoded, *, tokens: int = TOKENS,
                  progress: Callable[[int], None] | None = None) -> list[np.ndarray]:
    """The model's scores of every source: (words, K) of a sentence, (K,) of a document (the mean over its windows).

    Log-probabilities, or the emissions of a CRF.
    """
    scores: list[Any] = [None] * len(encoded.examples)
    for batch, chosen in prediction_batches(encoded.examples, tokens, model.store.xp, progress):
        values = to_numpy(model.scores(batch))
        if np.isnan(values).any():
            raise FloatingPointError("the model's scores became nan: the learning rate (optim.lr) was too high")
        words = [len(encoded.examples[i].rows) for i in chosen]
        parts = values if model.pooling != "token" else np.split(values, np.cumsum(words)[:-1])
        for i, part in zip(chosen, parts, strict=True):
            scores[i] = part
    sources: list[list[np.ndarray]] = [[] for _ in range(encoded.sources)]
    for example, part in zip(encoded.examples, scores, strict=True):       # windows of a sentence stand in order
        sources[example.source].append(part)
    if model.pooling == "token":
        empty = np.zeros((0, len(model.labels)))
        return [np.concatenate(parts) if parts else empty for parts in sources]
    return [np.mean(parts, axis=0) for parts in sources]


def decode_tags(scores: Sequence[np.ndarray], labels: Sequence[str], scheme: str, *, constrained: bool = True,
                decoder: Mapping[str, Any] | None = None) -> list[list[str]]:
    """The best tag sequence of every sentence, among those the scheme allows if `constrained`; spans are written in IOB2.

    scores: (words, K) of every sentence; decoder: what model.decoder() adds to them.
    """
    if not scores:
        return []
    starts = starts_of(map(len, scores))
    return written(best_paths(scores, labels, scheme, constrained, decoder), starts, labels, scheme)


def best_paths(scores: Sequence[np.ndarray], labels: Sequence[str], scheme: str, constrained: bool,
               decoder: Mapping[str, Any] | None) -> np.ndarray:
    """Class numbers (W,) of all words of all sentences."""
    starts = starts_of(map(len, scores))
    legal = legal_transitions(labels, scheme) if constrained else None
    added = {name: to_numpy(value) for name, value in (decoder or {}).items()}
    return viterbi(np.concatenate(scores), starts, legal=legal, **added)[0]


def predict_labels(model: Model, encoded: Encoded, scheme: str, *, constrained: bool = True,
                   progress: Callable[[int], None] | None = None) -> list[Any]:
    """Tags of every sentence, or the label of every document.  scheme: that of the model's labels."""
    scores = source_scores(model, encoded, progress=progress)
    if model.pooling == "token":
        return decode_tags(scores, model.labels, scheme, constrained=constrained, decoder=model.decoder())
    return [model.labels[int(s.argmax())] for s in scores]


class Tagged(NamedTuple):
    """What a tagger says of one sentence."""

    tags: list[str]                                    # in IOB2, or plain
    confidences: np.ndarray                            # (words,)  probability of each tag
    entities: list[tuple[str, int, int, float]]        # type, first word, first word after it, confidence


class Predictor:
    """A model folder, ready to use.  `read` counts all inputs so far, and what was cut of them."""

    def __init__(self, model: Model, tokenizer: PieceTokenizer, info: ModelInfo) -> None:
        self.model, self.tokenizer, self.info = model, tokenizer, info
        self.read = Encoded([], 0, on_long=info.on_long)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Predictor:
        """Read a model folder.  Raises UserError when it is not one."""
        return cls(*load_model(Path(folder), xp=array_module_for(device)))

    def tag(self, sentences: Sequence[Sequence[str]], *, path: str = "input", lines: Sequence[int] = ()) -> list[Tagged]:
        """Tags of tokenised sentences.  Words beyond a cut have confidence 0 and the tag O, a tagger of plain tags gives "_".

        path, lines: where each sentence stands, for messages; without, they are counted from 1.
        """
        if self.model.pooling != "token":
            raise UserError(f"this model is a {self.info.task} model; it has no tags")
        model, info = self.model, self.info
        numbers = lines or range(1, len(sentences) + 1)
        rows = [Sentence(tuple(words), None, line) for words, line in zip(sentences, numbers, strict=True)]
        encoded = encode_sentences(rows, self.tokenizer, None, max_length=info.max_length, on_long=info.on_long, path=path,
                                   cure=CURE)
        self.read.count(encoded)
        scores = source_scores(model, encoded)
        if not scores:
            return []
        starts = starts_of(map(len, scores))
        paths = best_paths(scores, model.labels, info.scheme, info.constrained, model.decoder())
        tags = written(paths, starts, model.labels, info.scheme)
        found = [[] if info.task != "ner" else spans(t) for t in tags]
        rows_of = np.array([(start + first, start + end) for start, sentence in zip(starts[:-1], found, strict=True)
                            for _, first, end in sentence], dtype=np.int64).reshape(-1, 2)
        values = np.concatenate(scores)
        legal = legal_transitions(model.labels, info.scheme) if info.constrained else None
        words = np.split(to_numpy(model.confidences(values, starts, paths, legal=legal)), starts[1:-1])
        of_spans = iter(to_numpy(model.span_confidences(values, starts, rows_of, paths, legal=legal)).tolist())
        results, untagged = [], "O" if info.task == "ner" else "_"         # "_": as CoNLL-U writes what is not given
        for sentence, sentence_tags, p, entities in zip(sentences, tags, words, found, strict=True):
            cut = len(sentence) - len(sentence_tags)
            results.append(Tagged(sentence_tags + [untagged] * cut, np.concatenate([p, np.zeros(cut)]),
                                  [(*span, next(of_spans)) for span in entities]))
        return results

    def predict(self, texts: Iterable[str], *, path: str = "input", lines: Sequence[int] = ()) -> list[dict[str, Any]]:
        """One dictionary a text.

        A classifier gives {"text", "label", "confidence", "probabilities"}.  A tagger gives {"text", "words": [[start,
        end], ...], "tags", "entities": [{"type", "text", "start", "end", "first_word", "last_word", "confidence"}]}:
        offsets are characters, end exclusive; an entity's confidence is the geometric mean of its tags' probabilities, with a
        CRF the probability of the span.  Plain tags come with "confidences" in place of entities.
        path, lines: where each text stands, for messages; without, they are counted from 1.
        """
        if isinstance(texts, str):
            raise TypeError("predict: expected a list of strings, got one string; use predict([text])")
        if not isinstance(texts, Iterable):
            raise TypeError(f"predict: expected a list of strings, got {type(texts).__name__}")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"predict: expected a list of strings, got {type(text).__name__} at index {i}")
        numbers = lines or range(1, len(texts) + 1)
        return (self._classify if self.model.pooling != "token" else self._tag_texts)(texts, path, numbers)

    def _classify(self, texts: Sequence[str], path: str, lines: Sequence[int]) -> list[dict[str, Any]]:
        documents = [Document(text, None, line) for text, line in zip(texts, lines, strict=True)]
        encoded = encode_documents(documents, self.tokenizer, None, max_length=self.info.max_length, on_long=self.info.on_long,
                                   path=path, cure=CURE)
        self.read.count(encoded)
        results = []
        for text, log_probs in zip(texts, source_scores(self.model, encoded), strict=True):
            probs = np.exp(log_probs)
            probs /= probs.sum()                                       # a mean of logs over windows is not normalised
            best = int(probs.argmax())
            results.append({"text": text, "label": self.model.labels[best], "confidence": round(float(probs[best]), 4),
                            "probabilities": {label: round(float(p), 4)
                                              for label, p in zip(self.model.labels, probs, strict=True)}})
        return results

    def _tag_texts(self, texts: Sequence[str], path: str, lines: Sequence[int]) -> list[dict[str, Any]]:
        words = [split_words(text) for text in texts]
        tagged = self.tag([[text[a:b] for a, b in ranges] for text, ranges in zip(texts, words, strict=True)],
                          path=path, lines=lines)
        results = []
        for text, ranges, answer in zip(texts, words, tagged, strict=True):
            entry: dict[str, Any] = {"text": text, "words": [list(r) for r in ranges], "tags": answer.tags}
            if self.info.task == "ner":
                entry["entities"] = [self._entity(text, ranges, *span) for span in answer.entities]
            else:
                entry["confidences"] = [round(float(p), 4) for p in answer.confidences]
            results.append(entry)
        return results

    @staticmethod
    def _entity(text: str, ranges: list[tuple[int, int]], kind: str, first: int, end: int, confidence: float) -> dict[str, Any]:
        start, stop = ranges[first][0], ranges[end - 1][1]
        return {"type": kind, "text": text[start:stop], "start": start, "end": stop, "first_word": first,
                "last_word": end - 1, "confidence": round(confidence, 4)}
