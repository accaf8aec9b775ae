"""What a trained model says of text: log-probabilities, decoded tags, confidences.

    model = minixl.load("runs/es/model")
    model.predict(["Angela Merkel visitó Sevilla."])
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import exp
from pathlib import Path
from typing import Any

import numpy as np

from minixl.backend import array_module_for, to_numpy
from minixl.data.batching import length_batches, pack
from minixl.data.encoding import Encoded, PieceTokenizer, encode_documents, encode_sentences
from minixl.data.examples import Document, Sentence
from minixl.data.schemes import legal_transitions, spans
from minixl.errors import UserError
from minixl.model_folder import ModelInfo, load_model
from minixl.models.transformer import Transformer
from minixl.ops.softmax import log_softmax_forward
from minixl.ops.viterbi import viterbi

TOKENS = 1024      # word pieces a prediction batch: the fastest of 256 ... 4096 on two cores (docs/performance.md)

# A word is a run of letters and digits with inner apostrophes, hyphens, points or commas between digits; every other
# visible character stands alone, and so does every Chinese character.  Thai and other scripts that write no spaces
# should be handed in as CoNLL, already cut into words.
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{HAN}]|\d+(?:[.,]\d+)+|(?:(?![{HAN}])\w)+(?:['’\-](?:(?![{HAN}])\w)+)*|[^\w\s]")


def log_probabilities(model: Transformer, encoded: Encoded, *, tokens: int = TOKENS,
                      progress: Callable[[int], None] | None = None) -> list[np.ndarray]:
    """Log-probabilities of every source: (words, K) of a sentence, (K,) of a document (the mean over its windows)."""
    scores: list[Any] = [None] * len(encoded.examples)
    for chosen in length_batches(encoded.examples, tokens):
        batch = pack([encoded.examples[i] for i in chosen], model.store.xp)
        logits, _ = model.forward(batch, keep=False)
        log_probs = to_numpy(log_softmax_forward(logits)[0])
        if np.isnan(log_probs).any():
            raise FloatingPointError("the model's scores became nan: the learning rate (optim.lr) was too high")
        words = [len(encoded.examples[chosen[i]].rows) for i in batch.order]
        parts = log_probs if model.pooling != "token" else np.split(log_probs, np.cumsum(words)[:-1])
        for position, part in zip(batch.order, parts, strict=True):
            scores[chosen[position]] = part
        if progress:
            progress(batch.tokens)
    sources: list[list[np.ndarray]] = [[] for _ in range(encoded.sources)]
    for example, part in zip(encoded.examples, scores, strict=True):       # windows of a sentence stand in order
        sources[example.source].append(part)
    if model.pooling == "token":
        empty = np.zeros((0, len(model.labels)))
        return [np.concatenate(parts) if parts else empty for parts in sources]
    return [np.mean(parts, axis=0) for parts in sources]


def decode_tags(log_probs: Sequence[np.ndarray], labels: Sequence[str], scheme: str, *,
                constrained: bool = True) -> list[list[str]]:
    """The best tag sequence of every sentence, among those the scheme allows if `constrained`."""
    if not log_probs:
        return []
    starts = np.concatenate([[0], np.cumsum([len(p) for p in log_probs])])
    legal = legal_transitions(labels, scheme) if constrained else None
    tags, _ = viterbi(np.concatenate(log_probs), starts, legal=legal)
    named = np.array(labels, dtype=object)[tags]
    return [named[a:b].tolist() for a, b in zip(starts[:-1], starts[1:], strict=True)]


def predict_labels(model: Transformer, encoded: Encoded, task: str, *, constrained: bool = True,
                   progress: Callable[[int], None] | None = None) -> list[Any]:
    """Tags of every sentence, or the label of every document."""
    log_probs = log_probabilities(model, encoded, progress=progress)
    if model.pooling == "token":
        return decode_tags(log_probs, model.labels, "IOB2" if task == "ner" else "none", constrained=constrained)
    return [model.labels[int(p.argmax())] for p in log_probs]


def split_words(text: str) -> list[tuple[int, int]]:
    """Character ranges of the words of a text."""
    return [match.span() for match in WORD.finditer(text)]


class Predictor:
    """A model folder, ready to use."""

    def __init__(self, model: Transformer, tokenizer: PieceTokenizer, info: ModelInfo) -> None:
        self.model, self.tokenizer, self.info = model, tokenizer, info

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Predictor:
        """Read a model folder.  Raises UserError when it is not one."""
        return cls(*load_model(Path(folder), xp=array_module_for(device)))

    def tag(self, sentences: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[np.ndarray]]:
        """Tags of tokenised sentences, and the probability (words,) of each tag.  Words beyond a cut are tagged O."""
        if self.model.pooling != "token":
            raise UserError(f"this model is a {self.info.task} model; it has no tags")
        rows = [Sentence(tuple(words), None, i + 1) for i, words in enumerate(sentences)]
        encoded = encode_sentences(rows, self.tokenizer, None, max_length=self.info.max_length, on_long=self.info.on_long)
        log_probs = log_probabilities(self.model, encoded)
        tags = decode_tags(log_probs, self.model.labels, self.info.scheme, constrained=self.info.constrained)
        index = {label: i for i, label in enumerate(self.model.labels)}
        chosen = [np.exp(p[np.arange(len(t)), [index[tag] for tag in t]]) if t else np.zeros(0)
                  for p, t in zip(log_probs, tags, strict=True)]
        for words, sentence_tags in zip(sentences, tags, strict=True):
            sentence_tags += ["O"] * (len(words) - len(sentence_tags))
        return tags, chosen

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """One dictionary a text.

        A classifier gives {"text", "label", "confidence", "probabilities"}.  A tagger gives {"text", "words": [[start,
        end], ...], "tags", "entities": [{"type", "text", "start", "end", "first_word", "last_word", "confidence"}]}:
        offsets are characters, end exclusive; an entity's confidence is the geometric mean of its tags' probabilities.
        """
        if isinstance(texts, str):
            raise TypeError("predict: expected a list of strings, got one string; use predict([text])")
        return self._classify(texts) if self.model.pooling != "token" else self._tag_texts(texts)

    def _classify(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        documents = [Document(text, None, i + 1) for i, text in enumerate(texts)]
        encoded = encode_documents(documents, self.tokenizer, None, max_length=self.info.max_length, on_long=self.info.on_long)
        results = []
        for text, log_probs in zip(texts, log_probabilities(self.model, encoded), strict=True):
            probs = np.exp(log_probs)
            probs /= probs.sum()                                       # a mean of logs over windows is not normalised
            best = int(probs.argmax())
            results.append({"text": text, "label": self.model.labels[best], "confidence": round(float(probs[best]), 4),
                            "probabilities": {label: round(float(p), 4)
                                              for label, p in zip(self.model.labels, probs, strict=True)}})
        return results

    def _tag_texts(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        words = [split_words(text) for text in texts]
        tags, probs = self.tag([[text[a:b] for a, b in ranges] for text, ranges in zip(texts, words, strict=True)])
        results = []
        for text, ranges, sentence_tags, p in zip(texts, words, tags, probs, strict=True):
            entry: dict[str, Any] = {"text": text, "words": [list(r) for r in ranges], "tags": sentence_tags}
            if self.info.task == "ner":
                entry["entities"] = [self._entity(text, ranges, span, p) for span in spans(sentence_tags)]
            results.append(entry)
        return results

    @staticmethod
    def _entity(text: str, ranges: list[tuple[int, int]], span: tuple[str, int, int], probs: np.ndarray) -> dict[str, Any]:
        kind, first, end = span
        start, stop = ranges[first][0], ranges[end - 1][1]
        confidence = exp(float(np.log(np.maximum(probs[first:end], 1e-30)).mean()))
        return {"type": kind, "text": text[start:stop], "start": start, "end": stop, "first_word": first,
                "last_word": end - 1, "confidence": round(confidence, 4)}
