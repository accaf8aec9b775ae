"""The work of the family bilstm-crf: sentences in words, a lexicon, the initial value of every parameter."""
from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from minixl.bench.training.work import BilstmCrfWork, Examples, Options, Say, Words, check_enough, choose_batches
from minixl.bench.training.work_bert import sample_file
from minixl.data.corpus import collect_labels, encode_corpus, read_corpus
from minixl.data.lexicon import Lexicon
from minixl.data.sample import LANGUAGES
from minixl.errors import UserError
from minixl.methods import SCHEMA
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import BilstmCrfConfig

SCHEME = "IOBES"
# SGD as in the first epoch of Lample et al. 2016 and Bari et al. 2020
SETTINGS = {"task": "ner", "optim.name": "sgd", "optim.lr": 0.1, "optim.clip": 5.0, "optim.schedule": "constant",
            "optim.warmup": 0.0}


def make_work(options: Options, scratch: Path, say: Say) -> tuple[BilstmCrfWork, dict[str, Any]]:
    """Read, check and encode as `minixl train` does; choose the batches.

    The LSTM cells have two biases and the CRF has start and end scores, as always in PyTorch and pytorch-crf.
    """
    if options.encoder is not None:
        raise UserError(f"--encoder {options.encoder}: a bilstm-crf model has no encoder; leave it out, or choose --model bert")
    language, path = options.source or sample_file(scratch, LANGUAGES[0])
    corpus = read_corpus("ner", language, path).limited(options.limit)
    labels = collect_labels("ner", [corpus], SCHEME)
    lexicon = Lexicon.from_sentences(sentence.words for sentence in corpus.sentences())
    examples = encode_corpus(corpus, lexicon, labels, max_length=options.max_length, on_long="truncate", scheme=SCHEME).examples
    check_enough(examples, options, path)
    choose = lambda kind, count: choose_batches(examples, kind, batch_size=options.batch_size, count=count, seed=options.seed)
    config = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size, two_biases=True, start_end=True)
    model = BilstmCrf(config, labels, lexicon)
    model.initialise(np.random.Generator(np.random.PCG64(options.seed)))
    store = model.store
    store.freeze(options.freeze or ())
    work = BilstmCrfWork(config=config, labels=labels, lexicon=pickle.dumps(lexicon), words=words_of(lexicon, examples),
                         start={parameter.name: parameter.value.copy() for parameter in store},
                         frozen=store.names(trainable=False), settings=dict(SCHEMA.settings(SETTINGS)), seed=options.seed,
                         batches={kind: choose(kind, options.steps) for kind in options.batch_kinds},
                         predicted={kind: choose(kind, len(examples)) for kind in options.batch_kinds})
    sizes = (f"words {config.word_size}, characters 2 x {config.char_hidden}, states 2 x {config.word_hidden}, "
             f"dense {config.dense_size}, {len(labels)} tags")
    return work, {"model": sizes, "frozen": list(options.freeze or ()), "weights": store.count(),
                  "trained": store.count(trainable=True), "source": str(path)}


def words_of(lexicon: Lexicon, examples: Examples) -> Words:
    """Look up what the ids in the examples stand for."""
    ids = np.arange(1 + max(int(example.input_ids.max()) for example in examples))
    spelled = lexicon.spell(ids)
    return Words(lexicon.rows(ids), np.split(spelled.chars, spelled.starts[1:-1]), lexicon.singletons)
