"""The engines that are measured.  All get batches of texts sorted by length, and return log-probabilities of the same words."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from minixl.bench.training.work import BertWork, Examples
from minixl.weights.folder import read_config


class Engine(Protocol):
    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Return the log-probabilities (words, K) of every text, in order."""


class Made(NamedTuple):
    """An engine, and whether it computes in float32 as minixl does."""

    engine: Engine
    float32: bool = True


class GraphEngine:
    """Runs a graph on batches padded to their longest text.  run: input_ids, attention_mask (B, N) -> logits (B, N, K)."""

    def __init__(self, run: Callable[[np.ndarray, np.ndarray], np.ndarray], pad_id: int) -> None:
        self.run, self.pad_id = run, pad_id

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Batch by batch."""
        scores = []
        for batch in batches:
            shape = len(batch), max(len(example.input_ids) for example in batch)
            ids, mask = np.full(shape, self.pad_id, np.int64), np.zeros(shape, np.int64)
            for row, example in enumerate(batch):
                ids[row, :len(example.input_ids)] = example.input_ids
                mask[row, :len(example.input_ids)] = 1
            logits = self.run(ids, mask)
            for row, example in enumerate(batch):
                of_words = logits[row, example.rows]
                of_words = of_words - of_words.max(axis=1, keepdims=True)
                scores.append(of_words - np.log(np.exp(of_words).sum(axis=1, keepdims=True)))
        return scores


def make_engines(names: Sequence[str], work: BertWork, threads: int, scratch: Path) -> dict[str, Made]:
    """Return the engines of minixl and of the packages `names`, all with the same weights."""
    from minixl.bench.training.minixl_bert import MinixlBert

    made = {"minixl": Made(MinixlBert(work, threads))}
    if not names:
        return made
    from minixl.bench.prediction.onnx_graphs import write_fused, write_int8, write_plain
    from minixl.bench.training.transformers_bert import TransformersBert

    theirs, config = TransformersBert(work, threads), read_config(work.encoder)
    pad_id = config.raw.get("pad_token_id") or 0
    if "transformers" in names:
        made["transformers"] = Made(theirs)
    if set(names) & {"onnxruntime", "openvino"}:
        plain = write_plain(theirs.model, scratch / "plain.onnx")
    if "onnxruntime" in names:
        fused = write_fused(plain, scratch / "fused.onnx", heads=config.num_attention_heads, hidden=config.hidden_size)
        made["onnxruntime"] = Made(_onnx_runtime(plain, threads, pad_id))
        made["onnxruntime fused"] = Made(_onnx_runtime(fused, threads, pad_id))
        made["onnxruntime int8"] = Made(_onnx_runtime(write_int8(fused, scratch / "int8.onnx"), threads, pad_id), False)
    if "openvino" in names:
        made["openvino"] = Made(_openvino(plain, threads, pad_id, "f32"))
        made["openvino bf16"] = Made(_openvino(plain, threads, pad_id, "bf16"), False)
    return made


def _onnx_runtime(graph: Path, threads: int, pad_id: int) -> GraphEngine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]

    return GraphEngine(run, pad_id)


def _openvino(graph: Path, threads: int, pad_id: int, precision: str) -> GraphEngine:
    import openvino

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision,
                                "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(graph), "CPU", settings).create_infer_request()

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return request.infer({"input_ids": ids, "attention_mask": mask})["logits"]

    return GraphEngine(run, pad_id)
