"""The result of prepare: everything that a run has read and checked before it writes anything."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from minixl.data.corpus import Corpus, encode_corpus
from minixl.data.encoding import Encoded, Example, PieceTokenizer
from minixl.evaluation.files import Evaluation
from minixl.models.family import Model

Texts = dict[str, list[Example]]           # a method's name for a text -> its examples


class Text(NamedTuple):
    """A text file and its examples in word pieces."""

    corpus: Corpus
    encoded: Encoded


@dataclass
class Prepared:
    """The model of a run, its text, and what the user should know about both."""

    model: Model
    tokenizer: PieceTokenizer
    raw_config: Mapping[str, Any]              # of the encoder; becomes the model folder's config.json
    labels: list[str]
    sources: list[Text]                        # the labelled text
    unlabelled_sources: list[Text]             # unlabelled text in the source languages
    unlabelled_targets: dict[str, Text]        # and in every target language, by language
    evaluation: Evaluation
    fingerprints: dict[str, str]               # digests of the files, by data.inputs.path_key
    messages: list[str]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return (role, language) -> the number of sentences or documents of the text files that were read."""
        unlabelled = [*self.unlabelled_sources, *self.unlabelled_targets.values()]
        texts = [("source", text.corpus) for text in self.sources] + [("unlabelled", text.corpus) for text in unlabelled]
        texts += [(part, corpus) for part, files in self.evaluation.files.items() for corpus, _ in files.values()]
        return {(role, corpus.language): len(corpus.inputs) for role, corpus in texts}


def encoded_by(tokenizer: PieceTokenizer, text: Text, prepared: Prepared) -> Encoded:
    """Encode an unlabelled text for a model that was loaded from a folder: a word-level one numbers words in its own way."""
    settings = prepared.evaluation.settings
    return encode_corpus(text.corpus, tokenizer, None, scheme=prepared.evaluation.scheme, max_length=settings["data.max_length"],
                         on_long=settings["data.on_long"])


def examples_of(texts: list[Text]) -> list[Example]:
    """Return the examples of all texts, one text after another."""
    return [example for text in texts for example in text.encoded.examples]
