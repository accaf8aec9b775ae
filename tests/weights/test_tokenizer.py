"""Word pieces against transformers: with small vocabularies, and with mBERT's on all the real text beside the checkout."""
import gzip
import json

import pytest
from transformers import AutoTokenizer, BertTokenizer

from minixl.errors import UserError
from minixl.weights.tokenizer import Tokenizer

from .conftest import VOCABULARY

SENTENCES = [["Sevilla", "é", "Madrid", ".", "unseen"], [], ["北京", "a,la", "", "\u200b", "Zürichs"], ["E", "e\u0301"]]


@pytest.fixture
def tokenizer(encoder):
    return Tokenizer(encoder)


@pytest.fixture
def unigram(tmp_path):
    """A folder with an XLM-R style tokenizer.json, with truncation and padding stored in it."""
    import tokenizers
    from tokenizers import models, pre_tokenizers
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁New", "▁York", "a", "b", "▁b", "<mask>"]
    inner = tokenizers.Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], 3, False))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.enable_truncation(2)
    inner.enable_padding(length=9)
    folder = tmp_path / "unigram"
    folder.mkdir()
    inner.save(str(folder / "tokenizer.json"))
    return folder


def test_pieces_of_words(tokenizer):
    ids = {piece: id for id, piece in enumerate(VOCABULARY)}
    unknown, zurich = [ids["[UNK]"]], [ids["Zür"], ids["##ich"], ids["##s"]]
    assert tokenizer.pieces_batch(SENTENCES) == [
        [[ids["Sevilla"]], [ids["é"]], [ids["Ma"], ids["##drid"]], [ids["."]], unknown], [],
        [[ids["北"], ids["京"]], [ids["a"], ids[","], ids["l"], ids["##a"]], unknown, unknown, zurich],
        [unknown, unknown]]                                    # decomposed é is another string: accents are kept as they are
    assert tokenizer.pieces_batch([["Zürichs"]])[0] == [zurich]


def test_pieces_as_text(tokenizer, unigram):
    [[[*pieces]]] = tokenizer.pieces_batch([["Zürichs"]])
    assert tokenizer.pieces_as_text([tokenizer.cls_id, *pieces]) == ["[CLS]", "Zür", "##ich", "##s"]
    assert Tokenizer(unigram).pieces_as_text([0, 5, 7]) == ["<s>", "▁New", "a"]


def test_results_belong_to_the_caller(tokenizer):
    tokenizer.pieces_batch([["Sevilla", "Sevilla"]])[0][0].append(99)
    assert tokenizer.pieces_batch([["Sevilla", "Sevilla"]])[0] == [[5], [5]]


def test_special_ids_and_no_special_tokens_added(tokenizer):
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert ids == (0, 1, 2, 3, 4)
    assert tokenizer.encode_texts([""])[0] == ([], []) and tokenizer.vocab_size == len(VOCABULARY)


def test_text_with_offsets(tokenizer):
    text = "Zürichs  北京, Madrid"
    ids, offsets = tokenizer.encode_texts([text])[0]
    assert [text[start:end] for start, end in offsets] == ["Zür", "ich", "s", "北", "京", ",", "Ma", "drid"]
    assert tokenizer.encode_texts([text, ""]) == [(ids, offsets), ([], [])]


@pytest.mark.parametrize("config, text, expected", [
    ({}, "Sevilla sév", ["Sevilla", "[UNK]"]),
    ({"do_lower_case": True}, "SEVilla sév", ["sev", "##illa", "sev"]),          # lower case strips accents too
    ({"do_lower_case": True, "strip_accents": False}, "SEVilla É", ["sev", "##illa", "é"]),
    ({"strip_accents": True}, "Sévilla é", ["Sevilla", "e"]),
    ({"tokenize_chinese_chars": False}, "北京", ["[UNK]"])])
def test_tokenizer_config_is_heeded(encoder, config, text, expected):
    (encoder / "tokenizer_config.json").write_text(json.dumps(config))
    ours = Tokenizer(encoder)
    ids = ours.encode_texts([text])[0][0]
    assert [ours._backend.id_to_token(id) for id in ids] == expected
    theirs = BertTokenizer.from_pretrained(encoder, **{"do_lower_case": False} | config)
    assert theirs(text, add_special_tokens=False).input_ids == ids


def test_unigram_without_its_truncation_and_padding(unigram):
    tokenizer = Tokenizer(unigram)
    assert (tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.unk_id, tokenizer.mask_id) == (0, 1, 2, 3, 10)
    assert tokenizer.pieces_batch([["New", "York", "ab", "?"]])[0] == [[5], [6], [4, 7, 8], [4, 3]]
    assert tokenizer.encode_texts(["New York b"])[0] == ([5, 6, 9], [(0, 3), (3, 8), (8, 10)])


@pytest.mark.parametrize("kind", ["encoder", "unigram"])
def test_saved_and_loaded_by_transformers(kind, request, tmp_path):
    ours = Tokenizer(request.getfixturevalue(kind))
    (tmp_path / "saved").mkdir()
    ours.save(tmp_path / "saved")
    again, theirs = Tokenizer(tmp_path / "saved"), AutoTokenizer.from_pretrained(tmp_path / "saved")
    text = "Sevilla, New York b 北京 Zürichs"
    assert again.encode_texts([text])[0] == ours.encode_texts([text])[0]
    assert theirs(text, add_special_tokens=False).input_ids == ours.encode_texts([text])[0][0]
    assert (theirs.cls_token_id, theirs.sep_token_id, theirs.pad_token_id, theirs.unk_token_id, theirs.mask_token_id) == (
        ours.cls_id, ours.sep_id, ours.pad_id, ours.unk_id, ours.mask_id)
    assert (tmp_path / "saved" / "vocab.txt").exists() == (kind == "encoder")
    if kind == "encoder":
        assert (tmp_path / "saved" / "vocab.txt").read_text() == "".join(f"{piece}\n" for piece in VOCABULARY)
        assert theirs(text).input_ids == [ours.cls_id, *ours.encode_texts([text])[0][0], ours.sep_id]


def test_special_tokens_named_by_a_file(encoder):
    (encoder / "special_tokens_map.json").write_text('{"cls_token": "a", "sep_token": "l"}')
    (encoder / "tokenizer_config.json").write_text('{"sep_token": {"content": "."}, "mask_token": null}')
    tokenizer = Tokenizer(encoder)
    assert (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (VOCABULARY.index("a"), VOCABULARY.index("."), 4)


def test_a_vocabulary_without_mask(encoder):
    (encoder / "vocab.txt").write_text("\n".join(piece for piece in VOCABULARY if piece != "[MASK]"))
    assert Tokenizer(encoder).mask_id is None


@pytest.mark.parametrize("name", ["sentencepiece.bpe.model", "vocab.json"])
def test_a_folder_with_another_kind_of_tokenizer(tmp_path, name):
    (tmp_path / name).write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(UserError, match=f"^{tmp_path}: expected tokenizer.json, or vocab.txt of a BERT model, found only {name}; "
                                        "copy the model's tokenizer.json there, or write it with save_pretrained of"):
        Tokenizer(tmp_path)


@pytest.mark.parametrize("file, content, text", [
    ("vocab.txt", None, "no tokenizer found; expected tokenizer.json, or vocab.txt of a BERT model"),
    ("vocab.txt", b"[UNK]\n[CLS]\n", "expected a BERT vocabulary with the line [SEP], found none"),
    ("vocab.txt", b"caf\xe9\n", "expected UTF-8, found byte 0xe9 at 3"),
    ("tokenizer.json", b"{\n}", "not a tokenizer file"),
    ("tokenizer_config.json", b"{", "not valid JSON"),
    ("tokenizer_config.json", b"[]", "expected a JSON object"),
    ("tokenizer_config.json", b'{"cls_token": "[CLASS]"}', "no cls_token: expected [CLASS]")])
def test_broken_files(encoder, file, content, text):
    (encoder / file).unlink() if content is None else (encoder / file).write_bytes(content)
    with pytest.raises(UserError) as error:
        Tokenizer(encoder)
    assert text in str(error.value) and str(encoder) in str(error.value) and "\n" not in str(error.value), error.value


def test_a_tokenizer_of_another_model(encoder):
    with pytest.raises(UserError, match="the tokenizer has 23 pieces, config.json: vocab_size says 20"):
        Tokenizer(encoder, vocab_size=20)
    assert Tokenizer(encoder, vocab_size=25).vocab_size == 23


def real_sentences(data):
    """Every distinct sentence of the labelled corpora, as words, and every distinct text and line, as text."""
    words, texts = set(), set()
    for path in sorted([*data.glob("wikineural/*/*"), *data.glob("pos/*/*")]):
        for block in path.read_text("utf-8").split("\n\n"):
            words.add(tuple(line.split("\t")[0] for line in block.splitlines() if line.strip()))
    for path in sorted([*data.glob("sib200/*/*"), *data.glob("mtod/*/*")]):
        texts.update(line.split("\t", 1)[1] for line in path.read_text("utf-8").splitlines() if "\t" in line)
    for path in sorted(data.glob("text/*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts.update(line.rstrip("\n") for line, _ in zip(file, range(3000)))
    return [list(sentence) for sentence in sorted(words) if sentence], sorted(texts)


def test_real_text_in_all_languages_with_the_vocabulary_of_mbert(shared):
    data = shared / "data"
    ours = Tokenizer(data / "mbert")
    theirs = BertTokenizer.from_pretrained(data / "mbert", do_lower_case=False)
    assert (ours.pad_id, ours.unk_id, ours.cls_id, ours.sep_id, ours.mask_id) == (0, 100, 101, 102, 103)
    assert ours.vocab_size == 119547
    words, texts = (found[::4] for found in real_sentences(data))
    assert len(words) > 17_000 and len(texts) > 7_000
    texts += [" ".join(sentence) for sentence in words]
    expected = theirs(texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False)
    assert [ids for ids, _ in ours.encode_texts(texts)] == expected.input_ids
    expected = theirs(words, is_split_into_words=True, add_special_tokens=False)
    for i, pieces in enumerate(ours.pieces_batch(words)):
        by_word = [[] for _ in words[i]]
        for id, word in zip(expected.input_ids[i], expected.word_ids(i), strict=True):
            by_word[word].append(id)
        assert pieces == [ids or [ours.unk_id] for ids in by_word], words[i]
