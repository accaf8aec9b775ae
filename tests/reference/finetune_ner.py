"""The recipe finetune-ner-cpu written with transformers and PyTorch: what docs/results.md compares minixl with.

    python -m tests.reference.finetune_ner ENCODER SEED LIMIT TEST_LIMIT en=TRAIN en=TEST es=TEST ...

Prints one JSON line: F1 per language, decoded freely and strictly scored (`strict`), and as minixl does (`f1`).
"""
import json
import sys

import numpy as np
import torch
import transformers

from minixl.data.corpus import Corpus, collect_labels, read_corpus
from minixl.data.encoding import IGNORED
from minixl.data.inputs import parse_language_file
from minixl.evaluation.scores import score_entities
from minixl.prediction import decode_tags

MAX_LENGTH, BATCH, EPOCHS, LR, HEAD_LR, DECAY = 128, 32, 3, 1e-4, 2e-3, 0.01


def collate(tokenizer, sentences, labels):
    """Padded pieces and first-piece labels, truncated at MAX_LENGTH."""
    batch = tokenizer([list(s.words) for s in sentences], is_split_into_words=True, truncation=True, max_length=MAX_LENGTH,
                      padding=True, return_tensors="pt", return_token_type_ids=False)
    gold = torch.full(batch["input_ids"].shape, IGNORED)
    for b, sentence in enumerate(sentences):
        before = None
        for t, word in enumerate(batch.word_ids(b)):
            if word is not None and word != before:
                gold[b, t] = labels.index(sentence.tags[word])
            before = word
    return batch, gold


def train(model, tokenizer, corpus: Corpus, labels, seed):
    """AdamW, warm-up 10 % then linear to 0, clip 1.0, embeddings and bottom three layers frozen."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not name.startswith(("bert.embeddings.", *(f"bert.encoder.layer.{i}." for i in range(3))))
    groups: dict = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (HEAD_LR if name.startswith("classifier") else LR, 0.0 if name.endswith("bias") or "LayerNorm" in name else DECAY)
            groups.setdefault(key, []).append(parameter)
    optimizer = torch.optim.AdamW([{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()])
    sentences = corpus.sentences()
    steps = EPOCHS * -(-len(sentences) // BATCH)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    rng = np.random.default_rng(seed)
    model.train()
    for _ in range(EPOCHS):
        order = rng.permutation(len(sentences))
        for first in range(0, len(order), BATCH):
            batch, gold = collate(tokenizer, [sentences[i] for i in order[first:first + BATCH]], labels)
            model(**batch, labels=gold).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


@torch.no_grad()
def scores(model, tokenizer, corpus: Corpus, labels):
    """Both scores of one test file."""
    model.eval()
    sentences, log_probs = corpus.sentences(), []
    for first in range(0, len(sentences), BATCH):
        batch, gold = collate(tokenizer, sentences[first:first + BATCH], labels)
        out = torch.log_softmax(model(**batch).logits, -1)
        log_probs += [row[keep != IGNORED].numpy() for row, keep in zip(out, gold, strict=True)]
    free = decode_tags(log_probs, labels, "IOB2", constrained=False)
    legal = decode_tags(log_probs, labels, "IOB2")
    gold_tags = [list(s.tags)[:len(p)] for s, p in zip(sentences, free, strict=True)]
    return {"strict": score_entities(gold_tags, free, strict=True)["f1"], "f1": score_entities(gold_tags, legal)["f1"]}


def main() -> None:
    """Train once, score every test file."""
    encoder, seed, limit, test_limit, source, *tests = sys.argv[1:]
    torch.manual_seed(int(seed))
    corpus = read_corpus("ner", *parse_language_file(source, "source")).limited(int(limit))
    labels = collect_labels("ner", [corpus])
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    model = transformers.BertForTokenClassification.from_pretrained(encoder, num_labels=len(labels), dtype=torch.float32)
    train(model, tokenizer, corpus, labels, int(seed))
    results = {}
    for pair in tests:
        test = read_corpus("ner", *parse_language_file(pair, "test")).limited(int(test_limit))
        results[test.language] = scores(model, tokenizer, test, labels)
    print(json.dumps({"seed": int(seed), **results}))


if __name__ == "__main__":
    main()
