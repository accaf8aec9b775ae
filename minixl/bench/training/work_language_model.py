"""The work of the family language-model: batches of two languages and the initial parameters of a language model of mlma-cpu."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from minixl.bench.training.work import Iteration, LanguageModelWork, Options, Say, check_enough, choose_batches
from minixl.bench.training.work_bert import sample_file
from minixl.building.language_model import config_of
from minixl.data.corpus import read_corpus
from minixl.data.encoding import Example
from minixl.data.language_lexicon import LanguageLexicon
from minixl.data.monolingual import most_frequent
from minixl.data.sample import LANGUAGES
from minixl.errors import UserError
from minixl.methods import SCHEMA
from minixl.methods.mlma.language_model import LanguageModeling
from minixl.models.bidirectional_lm import BidirectionalLm
from minixl.models.bidirectional_lm_config import DIRECTIONS

RECIPE = "mlma-cpu"


def make_work(options: Options, scratch: Path, say: Say) -> tuple[LanguageModelWork, dict[str, Any]]:
    """Read the words of labelled sentences of both languages; choose the batches.  The vocabularies are those of the recipe."""
    if options.encoder is not None or options.freeze:
        name = "--encoder" if options.encoder is not None else "--freeze"
        raise UserError(f"{name}: the language model is trained from nothing, as a whole; leave it out, or choose --model bert")
    source, target = options.source or sample_file(scratch, LANGUAGES[0]), options.target or sample_file(scratch, LANGUAGES[1])
    if target[0] == source[0]:
        raise UserError(f"--target {target[0]}={target[1]}: expected text in a language other than {source[0]}, the language of "
                        "the source")
    settings = SCHEMA.recipe(RECIPE).override(["optim.clip=5.0"])
    sentences = {language: [[word.lower() for word in s.words][:options.max_length]
                            for s in read_corpus("ner", language, path).limited(options.limit).sentences()]
                 for language, path in (source, target)}
    known = {language: most_frequent(Counter(word for words in of for word in words), settings["language_model.vocabulary"])
             for language, of in sentences.items()}
    lexicon = LanguageLexicon.of_languages({language: filled(words, settings["language_model.vocabulary"] - 2)
                                            for language, words in known.items()})
    examples = {language: encode(lexicon, language, of) for language, of in sentences.items()}
    for language, path in (source, target):
        check_enough(examples[language], options, path)
    model = BidirectionalLm(config_of(settings, lexicon))
    model.initialise(np.random.Generator(np.random.PCG64(options.seed)))
    objective = LanguageModeling(model, dict.fromkeys(examples), settings, options.seed, 1, lexicon=lexicon)
    drawn = {(language, direction): objective.candidates(language, direction, 0)
             for language in examples for direction in DIRECTIONS}
    work = LanguageModelWork(
        config=model.config, candidates={key: (found.ids, found.tries) for key, found in drawn.items()},
        start={name: model.store[name].value.copy() for name in model.names}, frozen=[], settings=dict(settings), seed=options.seed,
        batches={kind: choose(examples, options, kind) for kind in options.batch_kinds},
        predicted={kind: [] for kind in options.batch_kinds})
    config = model.config
    sizes = (f"{config.num_hidden_layers} blocks of {config.hidden_size} and {config.intermediate_size} in each direction, "
             f"vocabularies of {settings['language_model.vocabulary']}, {len(next(iter(drawn.values())).ids)} candidates, average "
             "linkage of all layers")
    return work, {"model": sizes, "frozen": [], "weights": model.store.count(), "trained": model.store.count(),
                  "source": str(source[1]), "target": str(target[1])}


def filled(words: list[str], size: int) -> list[str]:
    """Return the words and as many others as the vocabulary needs to be of the recipe's size."""
    return words + [f"({i})" for i in range(size - len(words))]


def encode(lexicon: LanguageLexicon, language: str, sentences: list[list[str]]) -> list[Example]:
    """Return examples whose input_ids are rows of the language's word table."""
    own = lexicon.for_language(language)
    first = lexicon.firsts[language]
    none = np.zeros(0, int)
    return [Example(own.rows(np.array([word for [word] in ids])) - first, none, none, i, 0)
            for i, ids in enumerate(own.pieces_batch(sentences))]


def choose(examples: dict[str, list[Example]], options: Options, kind: str) -> list[Iteration]:
    """Choose a batch of each language for every step; grouped batches of a step have similar length ranks."""
    streams = {language: choose_batches(of, kind, batch_size=options.batch_size, count=options.steps, seed=[options.seed, number])
               for number, (language, of) in enumerate(examples.items())}
    return [dict(zip(streams, batches, strict=True)) for batches in zip(*streams.values(), strict=False)]
