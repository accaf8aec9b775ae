"""The BiLSTM-CRF tagger of Lample et al. 2016 trained with PyTorch and pytorch-crf: what minixl's figures are compared with.

    python -m tests.reference.bilstm_crf TASK SEED EPOCHS LIMIT TEST_LIMIT TRAIN DEV TEST [--optim sgd|adam] [--lr X] [--batch N]

TASK is ner (entity tags, learned as IOBES, scored as minixl does) or pos (plain tags, accuracy).  LIMIT counts training
sentences, TEST_LIMIT those of DEV and of TEST; 0: all.  Prints one JSON line: the best dev score over the epochs, the
test score of that epoch, and the test score after the last one.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch

from minixl.bench.training.torch_bilstm_crf import BilstmCrfModule, pad, train_step
from minixl.bench.training.work_bilstm_crf import words_of
from minixl.data.corpus import collect_labels, encode_corpus, read_corpus
from minixl.data.lexicon import Lexicon
from minixl.data.schemes import convert
from minixl.evaluation.scores import main_figure, score
from minixl.models.bilstm_crf_config import BilstmCrfConfig, initial_value

CLIP, DECAY, FLOOR = 5.0, 0.01, 1e-4
RATES = {"sgd": 0.1, "adam": 1e-3}
LONGEST = 250                          # words; a longer sentence is cut


def initialise(model, rng):
    """As minixl does."""
    for name, parameter in model.named_parameters():
        parameter.data.copy_(torch.from_numpy(initial_value(name, tuple(parameter.shape), rng)))


def train_epoch(model, examples, words, optimizer, batch_size, rng):
    """One pass in random order."""
    order = rng.permutation(len(examples))
    for first in range(0, len(order), batch_size):
        train_step(model, pad([examples[i] for i in order[first:first + batch_size]], words), optimizer, CLIP)


@torch.inference_mode()
def evaluate(model, corpus, examples, words, labels, batch_size):
    """F1 of entities or accuracy."""
    model.eval()
    predicted = [[labels[tag] for tag in tags] for first in range(0, len(examples), batch_size)
                 for tags in model.decode(pad(examples[first:first + batch_size], words))]
    if corpus.task == "ner":
        predicted = [convert(tags, "IOBES", "IOB2") for tags in predicted]
    return score(corpus.task, corpus.gold(), predicted)[main_figure(corpus.task)]


def run(task, seed, epochs, limits, files, *, optim="sgd", lr=None, batch_size=16):
    """Train and score: {"dev": best, "test": of that epoch, "last": test after the last epoch}.

    limits: training sentences, dev and test sentences; files: training, dev, test.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    train, dev, test = (read_corpus(task, part, Path(file)).limited(limit) for part, file, limit
                        in zip(("train", "dev", "test"), files, (limits[0], limits[1], limits[1]), strict=True))
    scheme = "IOBES" if task == "ner" else "none"
    labels = collect_labels(task, [train], scheme)
    lexicon = Lexicon.from_sentences(sentence.words for sentence in train.sentences())
    encoded = {corpus.language: encode_corpus(corpus, lexicon, labels if corpus is train else None, max_length=LONGEST,
                                              on_long="truncate", scheme=scheme).examples for corpus in (train, dev, test)}
    words = words_of(lexicon, [example for examples in encoded.values() for example in examples])
    config = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size)
    model = BilstmCrfModule(config, len(labels), lexicon.singletons)
    initialise(model, rng)
    rate = lr or RATES[optim]
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optim](model.parameters(), lr=rate)
    best = {"dev": -1.0, "test": 0.0, "epoch": 0}
    last = 0.0
    for epoch in range(epochs):
        if optim == "sgd":
            optimizer.param_groups[0]["lr"] = max(rate / (1 + DECAY * epoch), FLOOR)
        train_epoch(model, encoded["train"], words, optimizer, batch_size, rng)
        scores = {corpus.language: evaluate(model, corpus, encoded[corpus.language], words, labels, 32) for corpus in (dev, test)}
        last = scores["test"]
        if scores["dev"] > best["dev"]:
            best = {**scores, "epoch": epoch + 1}
    return {**best, "last": last}


def main():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.reference.bilstm_crf")
    parser.add_argument("task", choices=("ner", "pos"))
    for name in ("seed", "epochs", "limit", "test_limit"):
        parser.add_argument(name, type=int)
    parser.add_argument("files", nargs=3, metavar="FILE", help="training, dev and test file")
    parser.add_argument("--optim", choices=tuple(RATES), default="sgd")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    scores = run(args.task, args.seed, args.epochs, (args.limit, args.test_limit), args.files, optim=args.optim, lr=args.lr,
                 batch_size=args.batch)
    print(json.dumps({"task": args.task, "seed": args.seed, "optim": args.optim, "batch": args.batch, **scores}))


if __name__ == "__main__":
    main()
