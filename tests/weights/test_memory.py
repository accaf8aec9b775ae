"""Loading a checkpoint of mBERT's size takes little memory besides the buffers."""
import json
import struct
import subprocess
import sys

import numpy as np
import pytest

from minixl.models.bert_config import BertConfig, encoder_shapes
from minixl.models.transformer import transformer_shapes

MBERT = BertConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
                   vocab_size=119547)
# Resident memory is sampled at its peak by the system: VmHWM, in kB.
LOAD = """
import sys, json, re
import numpy as np
from minixl.weights.folder import load_parameters
shapes = json.loads(sys.argv[2])
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = peak()
buffers = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
load_parameters(sys.argv[1], buffers)
print(json.dumps([before, peak(), {name: float(value.sum(dtype=np.float64)) for name, value in buffers.items()}]))
"""


def write_random(path, shapes, dtype, seed=5):
    """A safetensors file written part by part; returns the sum of each tensor."""
    header, start, sums = {}, 0, {}
    name_of = {"<f4": "F32", "<f2": "F16"}[dtype]
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        header[name] = {"dtype": name_of, "shape": list(shape), "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            sums[name], left = 0.0, int(np.prod(shape))
            while left:
                part = generator.random(min(left, 1 << 20), np.float32).astype(dtype)
                part.tofile(file)
                sums[name] += float(part.sum(dtype=np.float64))
                left -= len(part)
    return sums


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_peak_memory_of_loading_mbert(tmp_path, dtype):
    shapes = encoder_shapes(MBERT)
    path = tmp_path / "model.safetensors"
    sums = write_random(path, shapes, dtype)
    weights = sum(int(np.prod(shape)) for shape in shapes.values())
    if dtype == "<f4":
        assert path.stat().st_size == pytest.approx(711e6, rel=0.002)       # the published file's size
    result = subprocess.run([sys.executable, "-c", LOAD, str(path), json.dumps(shapes)], check=True,
                            capture_output=True, text=True)
    before, peak, found = json.loads(result.stdout)
    assert peak - before > 4 * weights * 0.99                               # the measure sees the buffers
    assert peak - before <= 1.2 * 4 * weights, f"{(peak - before) / 1e6:.0f} MB for {4 * weights / 1e6:.0f} MB"
    assert found == pytest.approx(sums, rel=1e-9)


PREDICT = """
import sys, re
import minixl, minixl.prediction
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = peak()
print(minixl.load(sys.argv[1], device="cpu").predict(["ac ca abc"])[0]["tags"], peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_peak_memory_of_one_sentence(tmp_path):
    """With XLM-R's vocabulary: the table alone is 256 MB, and an index over the pieces about as much."""
    rng, size = np.random.default_rng(0), 250_002
    pieces = [["<s>", 0], ["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["\u2581", -2.5], *([letter, -3.5] for letter in "abc")]
    pieces += [["\u2581" + format(i, "09o").translate(str.maketrans("01234567", "abcdefgh")), -9.25]
               for i in rng.choice(8**9, size - len(pieces), replace=False).tolist()]
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None, "decoder": None,
                 "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
                 "added_tokens": [{"id": i, "content": piece, "single_word": False, "lstrip": False, "rstrip": False,
                                   "normalized": False, "special": True} for i, (piece, _) in enumerate(pieces[:4])],
                 "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": False, "vocab": pieces}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    sizes = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 256, "vocab_size": size}
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"model_type": "bert"}), "utf-8")
    info = {"task": "ner", "labels": ["O", "B-PER", "I-PER"], "scheme": "IOB2", "pooling": "token", "max_length": 30}
    (tmp_path / "minixl.json").write_text(json.dumps(info), "utf-8")
    write_random(tmp_path / "model.safetensors", transformer_shapes(BertConfig.from_json(sizes), 3, "token", "none", 0), "<f4")
    result = subprocess.run([sys.executable, "-c", PREDICT, str(tmp_path)], check=True, capture_output=True, text=True)
    tags, peak = result.stdout.strip().rsplit(" ", 1)
    assert len(tags.split()) == 3 and int(peak) < 160e6, result.stdout
