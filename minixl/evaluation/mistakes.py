"""The inputs that a model got wrong, in the order of the file, as data and as lines to read."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minixl.data.examples import Document, Sentence
from minixl.data.schemes import spans

LONGEST = 300                          # characters of a document that are shown

Mistake = dict[str, Any]               # "line", "gold", "predicted", and "words", or "text" and "confidence"; "file" of several


def wrong_sentences(task: str, sentences: Sequence[Sentence], predicted: Sequence[Sequence[str]], *, strict: bool = False
                    ) -> list[Mistake]:
    """Return the sentences with a wrong entity or tag; of a truncated one, the words that were read.  strict: as in score."""
    mistakes = []
    for sentence, tags in zip(sentences, predicted, strict=True):
        gold = list(sentence.tags or ())[:len(tags)]
        wrong = spans(gold, strict) != spans(tags, strict) if task == "ner" else gold != list(tags)
        if wrong:
            words = list(sentence.words[:len(tags)])
            mistakes.append({**_place(sentence), "words": words, "gold": gold, "predicted": list(tags)})
    return mistakes


def wrong_documents(documents: Sequence[Document], predicted: Sequence[str], confidences: Sequence[float]) -> list[Mistake]:
    """Return the documents with a wrong label.  confidences: the probabilities of the predicted labels."""
    return [{**_place(document), "text": document.text, "gold": document.label, "predicted": label,
             "confidence": round(confidence, 4)}
            for document, label, confidence in zip(documents, predicted, confidences, strict=True) if document.label != label]


def _place(item: Sentence | Document) -> Mistake:
    """Return the line of an input, and its file if the corpus has several."""
    return {"line": item.line} | ({"file": item.path} if item.path else {})


def lines_of(task: str, mistake: Mistake) -> list[str]:
    """Describe a mistake: a sentence with its gold and its predicted spans, or wrong tags; a document with both labels."""
    gold, predicted = mistake["gold"], mistake["predicted"]
    place = f"{mistake['file']}, line {mistake['line']}" if "file" in mistake else f"line {mistake['line']}"
    if task == "classification":
        text = " ".join(mistake["text"].split())
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        return [f"{place}: gold {gold}, predicted {predicted} ({mistake['confidence']:.2f})", f"  {shown}"]
    if task == "ner":
        sides = [_bracketed(mistake["words"], tags) for tags in (gold, predicted)]
    else:
        sides = [_wrong_tags(mistake["words"], gold, predicted), _wrong_tags(mistake["words"], predicted, gold)]
    return [place, f"  gold       {sides[0]}", f"  predicted  {sides[1]}"]


def _bracketed(words: Sequence[str], tags: Sequence[str]) -> str:
    """Format as [Angela Merkel PER] visited [Seville LOC]."""
    parts, end = [], 0
    for kind, first, after in spans(tags):
        parts += [*words[end:first], f"[{' '.join(words[first:after])} {kind}]"]
        end = after
    return " ".join([*parts, *words[end:]])


def _wrong_tags(words: Sequence[str], tags: Sequence[str], others: Sequence[str]) -> str:
    """Format as the visit/NOUN, with the tags that differ from the others."""
    return " ".join(f"{word}/{tag}" if tag != other else word for word, tag, other in zip(words, tags, others, strict=True))
