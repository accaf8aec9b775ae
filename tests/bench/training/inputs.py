"""A tiny encoder written by transformers, and sentences of very different lengths with entity tags."""
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel

WORDS = [f"w{i}" for i in range(40)]


def write_encoder(folder: Path) -> Path:
    """BERT with 3 layers, 32 wide, and a vocab.txt in which every word is one piece."""
    torch.manual_seed(7)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    config = BertConfig(vocab_size=len(pieces), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=64)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return folder


def write_sentences(path: Path, count: int = 24) -> Path:
    """CoNLL columns: sentences of 1 to 30 words."""
    rng = np.random.default_rng(11)
    blocks = []
    for _ in range(count):
        words = rng.choice(WORDS, rng.integers(1, 31))
        blocks.append("\n".join(f"{word}\t{rng.choice(['O', 'B-PER', 'B-LOC'])}" for word in words))
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path
