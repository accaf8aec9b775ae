"""A tokenizer of a few pieces gives what the whole one gives."""
import json

import numpy as np
import pytest
from tokenizers import Tokenizer as Library, models, normalizers, pre_tokenizers

from minixl.weights import few_pieces
from minixl.weights.charsmap import precompiled_charsmap
from minixl.weights.tokenizer import Tokenizer

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
ALPHABET = "abcdefghéñ語😀"
TEXTS = ["abc def, gab", "", " ", "a<s>b </s>c<mask>", "<unk>", "\u0000\u0001", "ﬁ ñandú", "x" * 40, "▁▁a", "語語a 😀😀", "zzz abc qqq",
         "a\tb\nc", "hég", "q\u0301\u0302a", "abcdefghabcdefgh" * 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Unigram vocabulary just large enough, of random pieces."""
    rng, out = np.random.default_rng(0), tmp_path_factory.mktemp("unigram")
    pieces = dict.fromkeys(["▁", *ALPHABET])
    while len(pieces) < few_pieces.LARGE:
        pieces["▁" * int(rng.integers(2)) + "".join(rng.choice(list(ALPHABET), rng.integers(2, 7)))] = None
    scores = -rng.uniform(1, 20, len(pieces))
    vocabulary = [(token, 0.0) for token in SPECIAL] + list(zip(pieces, scores.tolist(), strict=True)) + [("<mask>", 0.0)]
    library = Library(models.Unigram(vocabulary, 3, False))
    library.normalizer = normalizers.Sequence([normalizers.Precompiled(precompiled_charsmap({"ﬁ": "fi", "\u0001": " "}))])
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.add_special_tokens([*SPECIAL, "<mask>"])
    library.save(str(out / "tokenizer.json"), pretty=False)
    return out


def pair(folder, monkeypatch):
    """The tokenizer with few pieces, and the whole one."""
    few = Tokenizer(folder)
    assert few._few is not None and "_backend" not in vars(few)
    monkeypatch.setattr("minixl.weights.tokenizer.few_pieces", lambda path: None)
    return few, Tokenizer(folder)


def random_texts(count: int) -> list[str]:
    rng = np.random.default_rng(1)
    letters = list(ALPHABET + "xyz   ")
    return ["".join(rng.choice(letters, rng.integers(1, 60))) for _ in range(count)]


def test_the_same_pieces(folder, monkeypatch):
    few, whole = pair(folder, monkeypatch)
    texts = TEXTS + random_texts(200)
    assert few.encode_texts(texts) == whole.encode_texts(texts)
    sentences = [text.split() for text in texts]
    assert few.pieces_batch(sentences) == whole.pieces_batch(sentences)
    assert (few.specials, few.vocab_size, few.mask_id, few.unk_id) == (whole.specials, whole.vocab_size, whole.mask_id, 3)
    numbers = [0, 4, 5000, few.vocab_size - 1, few.vocab_size]
    assert few.pieces_as_text(numbers) == whole.pieces_as_text(numbers)
    assert "_backend" not in vars(few) and len({n for ids, _ in few.encode_texts(texts) for n in ids}) > 500


def test_much_text_is_read_with_the_index(folder, monkeypatch):
    few, whole = pair(folder, monkeypatch)
    texts = random_texts(30)
    monkeypatch.setattr(few_pieces, "MUCH", sum(map(len, texts)))
    few.encode_texts(texts)
    assert few._few is not None
    assert few.encode_texts(["abc"]) == whole.encode_texts(["abc"])
    assert few._few is None and "_backend" in vars(few)
    assert few.pieces_as_text([7]) == whole.pieces_as_text([7])


def test_a_tokenizer_with_few_pieces_is_saved_whole(folder, tmp_path):
    Tokenizer(folder).save(tmp_path)
    saved, original = (json.loads((path / "tokenizer.json").read_text("utf-8")) for path in (tmp_path, folder))
    assert saved["added_tokens"] == original["added_tokens"]
    assert [piece for piece, _ in saved["model"]["vocab"]] == [piece for piece, _ in original["model"]["vocab"]]


@pytest.mark.parametrize("change", [
    lambda content: content["model"].update(type="BPE"),
    lambda content: content["model"].update(byte_fallback=True),
    lambda content: content["model"].update(unk_id=None),
    lambda content: content["model"]["vocab"].append(content["model"]["vocab"][9]),
    lambda content: content["added_tokens"][0].update(id=7),
    lambda content: content["added_tokens"].append({**content["added_tokens"][0], "content": "<new>", "id": 99}),
    lambda content: content["model"].update(vocab=content["model"]["vocab"][:1000]),
    lambda content: content.update(normalizer={"type": "Unheard"}),
    lambda content: content.pop("model")])
def test_other_files_are_left_to_the_library(folder, tmp_path, change):
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content) + " " * 20 * few_pieces.LARGE, "utf-8")
    assert few_pieces.few_pieces(tmp_path / "tokenizer.json") is None
    assert few_pieces.few_pieces(folder / "tokenizer.json") is not None
