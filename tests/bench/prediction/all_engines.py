"""Compare the scores of every engine of minixl bench predict on a small model.

    python -m tests.bench.prediction.all_engines FAMILY FOLDER
"""
import sys
from pathlib import Path

import numpy as np

from minixl.bench.prediction.benchmark import PEERS, make_work
from minixl.bench.prediction.engines import make_engines
from minixl.bench.training.work import Options
from tests.bench.training.inputs import write_encoder, write_sentences
from tests.tiny import write_ner, write_xlm_r


def made_from(folder: Path, family: str):
    if family == "bert":
        encoder, source = write_encoder(folder / "encoder"), write_sentences(folder / "en.txt")
    else:
        encoder, source = write_xlm_r(folder / "encoder"), write_ner(folder / "en.txt", "en", repeat=3)
    options = Options(encoder=encoder, source=("en", source), threads=1, repeats=1, freeze=())
    return make_work(options, ("posts", "documents"), 150, folder, lambda text: None)


def compare(folder: Path, family: str) -> None:
    work, texts, _ = made_from(folder, family)
    engines = make_engines(PEERS, work, 1, folder)
    assert list(engines) == ["minixl", "transformers", "onnxruntime", "onnxruntime fused", "onnxruntime int8", "openvino",
                             "openvino bf16"]
    assert [name for name, made in engines.items() if not made.float32] == ["onnxruntime int8", "openvino bf16"]
    for batches in texts.values():
        scores = {name: made.engine.predict(batches) for name, made in engines.items()}
        for name, own in scores.items():
            tolerance = 1e-5 if engines[name].float32 else 0.2
            for ours, theirs, example in zip(scores["minixl"], own, (e for batch in batches for e in batch), strict=True):
                assert ours.shape == (len(example.rows), len(work.start["classifier.bias"]))
                np.testing.assert_allclose(theirs, ours, atol=tolerance, err_msg=name)


if __name__ == "__main__":
    compare(Path(sys.argv[2]), sys.argv[1])
