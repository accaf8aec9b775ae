"""The tokenizer of an encoder folder: word pieces of words and of running text.

tokenizer.json is used as it is (WordPiece, or Unigram as in XLM-R and multilingual E5).  A folder with only vocab.txt gets
a BERT tokenizer: it drops control characters, splits Chinese characters, splits text at spaces and punctuation, and splits
each word into the longest pieces of the vocabulary from the left (Devlin et al. 2019; multilingual BERT is cased and keeps
accents).  It never truncates, pads or adds special tokens; encoding and packing do that.

Test: tests/weights/test_tokenizer.py, against transformers
"""
from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from minixl.backend import threads
from minixl.errors import UserError
from minixl.weights.reading import explain_read_errors, read_json

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if threads() > 1 else "false")      # before tokenizers looks
import tokenizers                                                                              # noqa: E402
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors               # noqa: E402
from minixl.weights.few_pieces import FewPieces, few_pieces                                    # noqa: E402

# The default names of special tokens: BERT's, then XLM-R's.
SPECIALS = {"cls_token": ("[CLS]", "<s>"), "sep_token": ("[SEP]", "</s>"), "pad_token": ("[PAD]", "<pad>"),
            "unk_token": ("[UNK]", "<unk>"), "mask_token": ("[MASK]", "<mask>")}
OTHER_TOKENIZERS = ("sentencepiece.bpe.model", "vocab.json")         # not read: SentencePiece's, byte-level BPE's
MAX_CACHED_WORDS = 1_000_000               # distinct words cached; a corpus has fewer, an endless stream may not
PiecesWithOffsets = tuple[list[int], list[tuple[int, int]]]      # ids, and for each the range [start, end) of its characters


class Tokenizer:
    """Maps words or text to ids of the encoder's vocabulary."""

    cls_id: int
    sep_id: int
    pad_id: int
    unk_id: int
    mask_id: int | None                    # None if the vocabulary has none

    def __init__(self, folder: str | Path, vocab_size: int | None = None) -> None:
        """`vocab_size`: rows of the word embeddings; raises UserError for a tokenizer with more pieces."""
        self.folder = Path(folder)
        self._config = _read_configs(self.folder)
        self._few = few_pieces(self.folder / "tokenizer.json")
        ids = self._few.ids if self._few else self._backend.get_vocab()
        self.vocab_size: int = max(ids.values(), default=-1) + 1
        if vocab_size is not None and self.vocab_size > vocab_size:
            raise UserError(f"{self.folder}: the tokenizer has {self.vocab_size} pieces, config.json: vocab_size says "
                            f"{vocab_size}; the files belong to different models")
        self.specials = {role: token for role in SPECIALS if (token := self._find(role, ids)) is not None}
        for role, token in self.specials.items():
            setattr(self, f"{role[:-6]}_id", ids[token])
        if "mask_token" not in self.specials:
            self.mask_id = None
        self._pieces_of: dict[str, list[int]] = {}

    @cached_property
    def _backend(self) -> tokenizers.Tokenizer:
        """The tokenizer with an index over all pieces."""
        backend = _load(self.folder, self._config)
        backend.no_truncation()
        backend.no_padding()
        return backend

    def _find(self, role: str, ids: Mapping[str, int]) -> str | None:
        """Find the token of a role: the one the files name, else the one with a default name."""
        named = self._config.get(role)
        named = named.get("content") if isinstance(named, dict) else named
        for token in [named] if isinstance(named, str) else SPECIALS[role]:
            if token in ids:
                return token
        if role == "mask_token":
            return None
        raise UserError(f"{self.folder}: the vocabulary has no {role}: expected {named or ' or '.join(SPECIALS[role])}"
                        f"; name it in tokenizer_config.json")

    def for_language(self, language: str) -> Tokenizer:
        """Return itself: it reads every language in the same way."""
        return self

    def _few_for(self, texts: Sequence[str]) -> FewPieces | None:
        """Return the tokenizer for little text; None if with these texts it was more, from which moment on it is not needed."""
        if self._few and not self._few.has_room(sum(map(len, texts))):
            self._few = None
        return self._few

    def pieces_batch(self, sentences: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """Return the ids of each word of each sentence, at least one: a word without pieces becomes [unk_id].

        A word's pieces do not depend on its neighbours, so every distinct word is split once and cached.
        """
        if len(self._pieces_of) > MAX_CACHED_WORDS:
            self._pieces_of.clear()
        new_words = list({word for words in sentences for word in words} - self._pieces_of.keys())
        inputs = [[word] for word in new_words]
        if few := self._few_for(new_words):
            found = [ids for ids, _ in few.encode(inputs, is_words=True)]
        else:
            encodings = self._backend.encode_batch_fast(inputs, is_pretokenized=True, add_special_tokens=False)
            found = [encoding.ids for encoding in encodings]
        for word, ids in zip(new_words, found, strict=True):
            self._pieces_of[word] = ids or [self.unk_id]
        return [[self._pieces_of[word].copy() for word in words] for words in sentences]

    def encode_texts(self, texts: Iterable[str]) -> list[PiecesWithOffsets]:
        """Return the ids of each running text, and for each id the range [start, end) of its characters in the text."""
        texts = list(texts)
        if few := self._few_for(texts):
            return few.encode(texts, is_words=False)
        return [(encoding.ids, encoding.offsets) for encoding in self._backend.encode_batch(texts, add_special_tokens=False)]

    def pieces_as_text(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces with these ids as the vocabulary writes them, such as ##ing or ▁the."""
        if self._few:
            return [self._few.text_of(number) for number in ids]
        return [self._backend.id_to_token(number) or "" for number in ids]

    def unknown_words(self, sentences: Iterable[Sequence[str]]) -> int:
        """Always 0: a word outside the vocabulary is split into pieces, at worst [UNK]."""
        return 0

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json, tokenizer_config.json and, for WordPiece, vocab.txt, from which transformers gives the same ids."""
        folder = Path(folder)
        self._backend.save(str(folder / "tokenizer.json"), pretty=False)
        kept = ("model_max_length", "do_lower_case", "strip_accents", "tokenize_chinese_chars", "model_input_names")
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
                  **self.specials, **{key: self._config[key] for key in kept if key in self._config}}
        if isinstance(self._backend.model, models.WordPiece):
            config.setdefault("do_lower_case", False)
            pieces = sorted(self._backend.get_vocab().items(), key=lambda item: item[1])
            if [id for _, id in pieces] == list(range(len(pieces))):       # write vocab.txt only if line numbers are ids
                (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces), "utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _read_configs(folder: Path) -> dict[str, Any]:
    """Read special_tokens_map.json and tokenizer_config.json, if present; the second takes precedence."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            config |= read_json(folder / name)
    return config


def _load(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        with explain_read_errors(path):
            content = path.read_bytes()
        try:
            return tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:                     # the library raises nothing more specific
            raise UserError(f"{path}: not a tokenizer file: {' '.join(str(error).split())}; copy the file again") from None
    if (folder / "vocab.txt").is_file():
        return _word_piece(folder / "vocab.txt", config)
    other = next((name for name in OTHER_TOKENIZERS if (folder / name).is_file()), None)
    if other:
        raise UserError(f"{folder}: expected tokenizer.json, or vocab.txt of a BERT model, found only {other}; copy the model's "
                        "tokenizer.json there, or write it with save_pretrained of transformers' AutoTokenizer")
    raise UserError(f"{folder}: no tokenizer found; expected tokenizer.json, or vocab.txt of a BERT model")


def _word_piece(path: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Make BERT's tokenizer from vocab.txt: one piece per line, the line number is the id."""
    try:
        with explain_read_errors(path):
            lines = path.read_text("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8, found byte {error.object[error.start]:#04x} at "
                        f"{error.start}") from None
    vocabulary = {piece: id for id, piece in enumerate(lines[:-1] if lines[-1] == "" else lines)}
    specials = {role: names[0] for role, names in SPECIALS.items()}
    for token in specials.values():
        if token not in vocabulary and token != "[MASK]":
            raise UserError(f"{path}: expected a BERT vocabulary with the line {token}, found none in {len(lines)} "
                            f"lines")
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"), lowercase=config.get("do_lower_case", False))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])])
    tokenizer.add_special_tokens([token for token in specials.values() if token in vocabulary])
    return tokenizer
