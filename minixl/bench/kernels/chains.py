"""Inputs and calls of the ops that walk along sentences (Viterbi, CRF, LSTM), for cases.py."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from minixl.backend import array_module
from minixl.ops.crf_recursion import Scores
from minixl.ops.lstm_steps import Cell
from minixl.ops.steps import time_steps
from minixl.packing import starts_of

Arrays = dict[str, Any]


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal float32."""
    return rng.standard_normal(shape, np.float32)


def packed_starts(rng: np.random.Generator, sentences: int, longest: int) -> np.ndarray:
    """Draw the starts of sentences with lengths from a third of the longest to the longest."""
    return starts_of(rng.integers(max(1, longest // 3), longest + 1, sentences))


def words(sentences: int, longest: int) -> int:
    """The expected number of words in these sentences."""
    return sentences * longest * 2 // 3


def copy_parameters(module: Any, arrays: Arrays, names: dict[str, str], device: Any) -> None:
    """Set parameters of a torch module; `names` maps each parameter to its array."""
    import torch
    for parameter, name in names.items():
        getattr(module, parameter).data = torch.tensor(arrays[name], device=device)


def viterbi_inputs(rng: np.random.Generator, sentences: int, longest: int, tags: int) -> Arrays:
    starts = packed_starts(rng, sentences, longest)
    return {"scores": floats(rng, int(starts[-1]), tags), "transitions": floats(rng, tags, tags), "start": floats(rng, tags),
            "end": floats(rng, tags), "starts": starts}


def viterbi_call(op: SimpleNamespace, x: Arrays) -> tuple:
    tags, path_scores = op.viterbi(x["scores"], x["starts"], transitions=x["transitions"], start=x["start"], end=x["end"])
    return path_scores, tags


def viterbi_prepare(inputs: Arrays, device: Any) -> tuple:
    import torch
    from torchcrf import CRF
    lengths = np.diff(inputs["starts"])
    crf = CRF(inputs["scores"].shape[1], batch_first=True).to(device)
    copy_parameters(crf, inputs, {"transitions": "transitions", "start_transitions": "start", "end_transitions": "end"}, device)
    padded = np.zeros((len(lengths), lengths.max(), inputs["scores"].shape[1]), np.float32)
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded[mask] = inputs["scores"]
    return crf, torch.tensor(padded, device=device), torch.tensor(mask, device=device)


def viterbi_torch(prepared: tuple) -> list[list[int]]:
    crf, scores, mask = prepared
    return crf.decode(scores, mask)


def crf_inputs(rng: np.random.Generator, sentences: int, longest: int, tags: int) -> Arrays:
    inputs = viterbi_inputs(rng, sentences, longest, tags)
    return inputs | {"weight": np.ones(len(inputs["scores"]), np.float32)}


def crf_call(op: SimpleNamespace, x: Arrays) -> tuple:
    steps = time_steps(x["starts"], array_module(x["scores"]))
    scores = Scores(x["scores"], x["transitions"], x["start"], x["end"])
    log_partition, state = op.forward_sums(scores, steps, len(x["starts"]) - 1)
    return log_partition, *op.marginals(scores, steps, state, x["weight"])


def crf_prepare(inputs: Arrays, device: Any) -> tuple:
    crf, scores, mask = viterbi_prepare(inputs, device)
    return crf, scores.requires_grad_(), mask, scores.argmax(2)


def crf_torch(prepared: tuple) -> None:
    crf, scores, mask, tags = prepared
    (-crf(scores, tags, mask)).backward()


def lstm_inputs(rng: np.random.Generator, sentences: int, longest: int, inputs: int, hidden: int) -> Arrays:
    starts = packed_starts(rng, sentences, longest)
    return {"x": floats(rng, int(starts[-1]), inputs), "dy": floats(rng, int(starts[-1]), hidden), "starts": starts,
            "weight_ih": 0.1 * floats(rng, 4 * hidden, inputs), "weight_hh": 0.1 * floats(rng, 4 * hidden, hidden),
            "bias": floats(rng, 4 * hidden)}


def lstm_call(op: SimpleNamespace, x: Arrays) -> tuple:
    cell = Cell(x["weight_ih"], x["weight_hh"], x["bias"], None)
    (hidden, _), cache = op.recurrent_forward(x["x"], (cell,), (False,), x["starts"])
    dx, (grads,) = op.recurrent_backward(x["dy"], None, cache)
    return hidden, dx, *grads.values()


def lstm_prepare(inputs: Arrays, device: Any) -> tuple:
    import torch
    size = inputs["dy"].shape[1]
    lstm = torch.nn.LSTM(inputs["x"].shape[1], size).to(device)
    copy_parameters(lstm, inputs, {"weight_ih_l0": "weight_ih", "weight_hh_l0": "weight_hh", "bias_ih_l0": "bias"}, device)
    sentences = [torch.tensor(part, device=device) for part in np.split(inputs["x"], inputs["starts"][1:-1])]
    packed = torch.nn.utils.rnn.pack_sequence(sentences, enforce_sorted=False)
    packed.data.requires_grad_()
    return lstm, packed, torch.tensor(inputs["dy"], device=device)


def lstm_torch(prepared: tuple) -> None:
    lstm, packed, dy = prepared
    lstm(packed)[0].data.backward(dy)
