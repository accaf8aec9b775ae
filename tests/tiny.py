"""Tiny encoder folders written by transformers, and small data files: what tests of whole runs use."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in
          "abcdefghijklmnopqrstuvwxyz"), "the", "visit", "##ed", "paris", "madrid", "anna", "ben", "in", "lives", "."]

SENTENCES = {
    "en": [("anna visited paris .", "B-PER O B-LOC O"), ("ben lives in madrid .", "B-PER O O B-LOC O"),
           ("the paris visit .", "O B-LOC O O"), ("anna ben visited madrid .", "B-PER I-PER O B-LOC O"),
           ("ben visited the madrid .", "B-PER O O B-LOC O"), ("anna lives .", "B-PER O O")],
    "es": [("anna visita madrid .", "B-PER O B-LOC O"), ("ben vive en paris .", "B-PER O O B-LOC O"),
           ("paris .", "B-LOC O")],
}
PARTS = {"anna": "PROPN", "ben": "PROPN", "paris": "PROPN", "madrid": "PROPN", "the": "DET", "in": "ADP", "en": "ADP", ".": "PUNCT"}
TOPICS = {
    "en": [("travel", "anna visited paris ."), ("home", "ben lives in madrid ."), ("travel", "ben visited madrid"),
           ("home", "anna lives in the paris")],
    "es": [("travel", "anna visita madrid ."), ("home", "ben vive en paris .")],
}


def write_encoder(folder: Path, *, hidden: int = 32, layers: int = 3, seed: int = 0) -> Path:
    """A random BERT with a WordPiece vocabulary of PIECES."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.BertConfig(vocab_size=len(PIECES), hidden_size=hidden, num_hidden_layers=layers,
                                     num_attention_heads=4, intermediate_size=2 * hidden, max_position_embeddings=64)
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder


def write_xlm_r(folder: Path, *, hidden: int = 32, layers: int = 3, architecture: str = "XLMRobertaModel", **sizes: int) -> Path:
    """Write a random XLM-R, saved as a class of transformers, with a Unigram tokenizer of letters and a few words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece in (f"{mark}{text}" for mark in ("▁", "") for text in
              ("", *"abcdefghijklmnopqrstuvwxyz.", "the", "visit", "ed", "paris", "madrid", "anna", "ben", "lives")) if piece),
              "<mask>"]
    torch.manual_seed(0)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(pieces), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=2 * hidden,
        max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5, **sizes)
    getattr(transformers, architecture)(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.Unigram([(piece, -float(len(piece) == 1) - 1) for piece in pieces], 3, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
                                                             special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_ner(path: Path, language: str, repeat: int = 1) -> Path:
    """Two-column CoNLL."""
    blocks = ["\n".join(f"{word}\t{tag}" for word, tag in zip(words.split(), tags.split(), strict=True))
              for words, tags in SENTENCES[language]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(blocks * repeat) + "\n", encoding="utf-8")
    return path


def write_topics(path: Path, language: str, repeat: int = 1) -> Path:
    """label TAB text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{label}\t{text}\n" for label, text in TOPICS[language] * repeat), encoding="utf-8")
    return path


def write_pos(path: Path, language: str, repeat: int = 1) -> Path:
    """The words of SENTENCES with their parts of speech; what PARTS does not have is a verb."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = ["".join(f"{word}\t{PARTS.get(word, 'VERB')}\n" for word in words.split()) for words, _ in SENTENCES[language]]
    path.write_text("\n".join(blocks * repeat), encoding="utf-8")
    return path


def write_vectors(path: Path, vectors: Mapping[str, Sequence[float]]) -> Path:
    """Word vectors as text, with a header."""
    size = len(next(iter(vectors.values())))
    lines = [f"{len(vectors)} {size}", *(f"{word} {' '.join(map(str, vector))}" for word, vector in vectors.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
