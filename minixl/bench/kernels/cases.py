"""What `minixl bench kernels` times: for each op its inputs, one call forward and backward, and the same in PyTorch.

Bytes and operations are the minimum for the task: every input read once, every output written once; a product of (n, k)
by (k, m) is 2nkm operations.  Extra work lowers the rate of an implementation.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from minixl.bench.kernels.chains import (Arrays, crf_call, crf_inputs, crf_prepare, crf_torch, floats, lstm_call, lstm_inputs,
                                         lstm_prepare, lstm_torch, viterbi_call, viterbi_inputs, viterbi_prepare,
                                         viterbi_torch, words)
from minixl.bench.kernels.search import csls_call, csls_faiss, csls_inputs, csls_torch


@dataclass(frozen=True)
class KernelCase:
    """One op.  `call` takes the functions of the op (NumPy, CuPy or kernels) and returns arrays that can be compared."""

    sizes: tuple[dict[str, int], ...]                     # the first is for the warm-up and is not reported
    inputs: Callable[..., Arrays]                         # (rng, **size) -> NumPy arrays, float32, int64 or bool
    call: Callable[[SimpleNamespace, Arrays], tuple]
    prepare: Callable[[Arrays, Any], Any]                 # (inputs, torch device) -> argument of `torch`; not timed
    torch: Callable[[Any], Any]
    torch_name: str
    bytes: Callable[..., int]
    operations: Callable[..., int]
    bound: str = "copy"                                   # the ceiling: "copy" (GB/s) or "product" (GFLOP/s)
    faiss: Callable[[Arrays], Any] | None = None          # the same by faiss, of NumPy arrays


def leaves(inputs: Arrays, device: Any) -> dict[str, Any]:
    """Convert all arrays to torch tensors; the floating-point ones, except dy, require a gradient."""
    import torch
    tensors = {name: torch.tensor(array, device=device) for name, array in inputs.items()}
    return {name: t.requires_grad_() if t.is_floating_point() and name != "dy" else t for name, t in tensors.items()}


def linkage_call(op: SimpleNamespace, x: Arrays) -> tuple:
    value, cache = op.average_linkage_forward(x["x"], x["y"])
    dx, grads = op.average_linkage_backward(1.0, cache)
    return value, dx, grads["y"]


def linkage_torch(t: dict[str, Any]) -> None:
    import torch

    def linkage(a: Any, b: Any) -> Any:
        return torch.cdist(a, b).clamp(1e-3, 1e3).mean()

    (2 * linkage(t["x"], t["y"]) - linkage(t["x"], t["x"]) - linkage(t["y"], t["y"])).backward()


def layernorm_call(op: SimpleNamespace, x: Arrays) -> tuple:
    y, cache = op.layernorm_forward(x["x"], x["weight"], x["bias"])
    dx, grads = op.layernorm_backward(x["dy"], cache)
    return y, dx, grads["weight"], grads["bias"]


def layernorm_torch(t: dict[str, Any]) -> None:
    import torch
    torch.nn.functional.layer_norm(t["x"], t["weight"].shape, t["weight"], t["bias"], 1e-12).backward(t["dy"])


def gelu_call(op: SimpleNamespace, x: Arrays) -> tuple:
    y, cache = op.gelu_forward(x["x"])
    return y, op.gelu_backward(x["dy"], cache)[0]


def gelu_torch(t: dict[str, Any]) -> None:
    import torch
    torch.nn.functional.gelu(t["x"]).backward(t["dy"])


def entropy_call(op: SimpleNamespace, x: Arrays) -> tuple:
    loss, cache = op.softmax_cross_entropy_forward(x["logits"], x["labels"])
    return loss, op.softmax_cross_entropy_backward(np.float32(1), cache)[0]


def entropy_torch(t: dict[str, Any]) -> None:
    import torch
    torch.nn.functional.cross_entropy(t["logits"], t["labels"]).backward()


def attention_inputs(rng: np.random.Generator, sentences: int, length: int, heads: int, head: int) -> Arrays:
    shape = sentences * length, heads * head
    starts = np.arange(sentences + 1, dtype=np.int64) * length
    return {**{name: floats(rng, *shape) for name in ("query", "key", "value", "dy")}, "starts": starts,
            "heads": np.array(heads)}


def attention_call(op: SimpleNamespace, x: Arrays) -> tuple:
    context, cache = op.attention_forward(x["query"], x["key"], x["value"], x["starts"], heads=int(x["heads"]))
    dquery, grads = op.attention_backward(x["dy"], cache)
    return context, dquery, grads["key"], grads["value"]


def attention_prepare(inputs: Arrays, device: Any) -> dict[str, Any]:
    import torch
    sentences, heads = len(inputs["starts"]) - 1, int(inputs["heads"])
    shaped = {name: torch.tensor(inputs[name], device=device).reshape(sentences, -1, heads, inputs[name].shape[1] // heads)
              .transpose(1, 2).contiguous() for name in ("query", "key", "value", "dy")}
    return {name: tensor.requires_grad_(name != "dy") for name, tensor in shaped.items()}


def attention_torch(t: dict[str, Any]) -> None:
    import torch
    torch.nn.functional.scaled_dot_product_attention(t["query"], t["key"], t["value"]).backward(t["dy"])


def masked_inputs(rng: np.random.Generator, rows: int, columns: int) -> Arrays:
    """Rows that use a third of the columns or more; a mask, the same for every engine, drops a tenth of the elements."""
    return {"x": floats(rng, rows, columns), "dy": floats(rng, rows, columns),
            "valid": rng.integers(max(1, columns // 3), columns + 1, rows), "mask": rng.random((rows, columns)) >= 0.1}


def masked_call(op: SimpleNamespace, x: Arrays) -> tuple:
    y, cache = op.masked_softmax_dropout_forward(x["x"], x["valid"], 0.1, mask=x["mask"])
    return y, op.masked_softmax_dropout_backward(x["dy"], cache)[0]


def masked_torch(t: dict[str, Any]) -> None:
    import torch
    outside = torch.arange(t["x"].shape[1], device=t["x"].device) >= t["valid"][:, None]
    probs = torch.softmax(t["x"].masked_fill(outside, -torch.inf), 1)
    (probs * t["mask"] / 0.9).backward(t["dy"])


def embedding_inputs(rng: np.random.Generator, tokens: int, vocabulary: int, hidden: int) -> Arrays:
    return {"ids": rng.integers(0, vocabulary, tokens), "dy": floats(rng, tokens, hidden), "vocabulary": np.array(vocabulary)}


def embedding_call(op: SimpleNamespace, x: Arrays) -> tuple:
    return tuple(op.sum_rows(x["ids"], x["dy"]))


def embedding_torch(t: dict[str, Any]) -> Any:
    import torch
    shape = int(t["vocabulary"]), t["dy"].shape[1]
    return torch.sparse_coo_tensor(t["ids"][None], t["dy"], shape, check_invariants=False).coalesce()


def adamw_inputs(rng: np.random.Generator, weights: int) -> Arrays:
    return {"value": floats(rng, weights), "grad": floats(rng, weights), "m": floats(rng, weights),
            "v": np.square(floats(rng, weights))}


def adamw_call(op: SimpleNamespace, x: Arrays) -> tuple:
    op.adamw_step(x["value"], x["grad"], x["m"], x["v"], lr=1e-3, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8, steps=10)
    return x["value"], x["m"], x["v"]


def adamw_prepare(inputs: Arrays, device: Any) -> Any:
    import torch
    weights = torch.tensor(inputs["value"], device=device, requires_grad=True)
    weights.grad = torch.tensor(inputs["grad"], device=device)
    return torch.optim.AdamW([weights], lr=1e-3, fused=True)


CASES = {
    "csls": KernelCase(
        ({"words": 64, "hidden": 16}, {"words": 5000, "hidden": 300}, {"words": 20_000, "hidden": 300},
         {"words": 50_000, "hidden": 300}),
        csls_inputs, csls_call, leaves, csls_torch, "torch topk",
        lambda words, hidden: 16 * words * hidden,
        lambda words, hidden: 4 * words * words * hidden, "product",          # two products by definition; csls_search.py saves one
        csls_faiss),
    "average_linkage": KernelCase(
        ({"points": 64, "hidden": 64}, {"points": 512, "hidden": 512}, {"points": 2048, "hidden": 512},
         {"points": 4096, "hidden": 512}),
        lambda rng, points, hidden: {"x": floats(rng, points, hidden), "y": floats(rng, points, hidden) + np.float32(0.1)},
        linkage_call, leaves, linkage_torch, "torch.cdist",
        lambda points, hidden: 16 * points * hidden, lambda points, hidden: 12 * points * points * hidden, "product"),
    "viterbi": KernelCase(
        ({"sentences": 4, "longest": 6, "tags": 5}, {"sentences": 64, "longest": 60, "tags": 17},
         {"sentences": 512, "longest": 60, "tags": 17}, {"sentences": 512, "longest": 60, "tags": 64}),
        viterbi_inputs, viterbi_call, viterbi_prepare, viterbi_torch, "pytorch-crf",
        lambda sentences, longest, tags: words(sentences, longest) * (4 * tags + 8),
        lambda sentences, longest, tags: words(sentences, longest) * 2 * tags * tags),
    "crf_recursion": KernelCase(
        ({"sentences": 4, "longest": 6, "tags": 5}, {"sentences": 32, "longest": 60, "tags": 17},
         {"sentences": 512, "longest": 60, "tags": 17}),
        crf_inputs, crf_call, crf_prepare, crf_torch, "pytorch-crf",
        lambda sentences, longest, tags: words(sentences, longest) * 8 * tags,
        lambda sentences, longest, tags: words(sentences, longest) * 8 * tags * tags),
    "lstm_steps": KernelCase(
        ({"sentences": 4, "longest": 6, "inputs": 5, "hidden": 8}, {"sentences": 16, "longest": 60, "inputs": 300, "hidden": 100},
         {"sentences": 128, "longest": 60, "inputs": 300, "hidden": 256}),
        lstm_inputs, lstm_call, lstm_prepare, lstm_torch, "torch.nn.LSTM",
        lambda sentences, longest, inputs, hidden: words(sentences, longest) * 8 * (inputs + hidden),
        lambda sentences, longest, inputs, hidden: words(sentences, longest) * 24 * hidden * (inputs + hidden), "product"),
    "layernorm": KernelCase(
        ({"tokens": 8, "hidden": 64}, {"tokens": 256, "hidden": 768}, {"tokens": 1024, "hidden": 768},
         {"tokens": 8192, "hidden": 768}),
        lambda rng, tokens, hidden: {"x": floats(rng, tokens, hidden), "dy": floats(rng, tokens, hidden),
                                     "weight": floats(rng, hidden), "bias": floats(rng, hidden)},
        layernorm_call, leaves, layernorm_torch, "torch",
        lambda tokens, hidden: 24 * tokens * hidden, lambda tokens, hidden: 16 * tokens * hidden),
    "gelu": KernelCase(
        ({"tokens": 8, "inner": 64}, {"tokens": 256, "inner": 3072}, {"tokens": 1024, "inner": 3072},
         {"tokens": 4096, "inner": 3072}),
        lambda rng, tokens, inner: {"x": floats(rng, tokens, inner), "dy": floats(rng, tokens, inner)},
        gelu_call, leaves, gelu_torch, "torch",
        lambda tokens, inner: 24 * tokens * inner, lambda tokens, inner: 30 * tokens * inner),
    "softmax_cross_entropy": KernelCase(
        ({"rows": 8, "classes": 5}, {"rows": 8192, "classes": 17}, {"rows": 256, "classes": 30000}),
        lambda rng, rows, classes: {"logits": floats(rng, rows, classes), "labels": rng.integers(0, classes, rows)},
        entropy_call, leaves, entropy_torch, "torch",
        lambda rows, classes: 16 * rows * classes, lambda rows, classes: 10 * rows * classes),
    "attention": KernelCase(
        ({"sentences": 2, "length": 8, "heads": 2, "head": 8}, {"sentences": 32, "length": 32, "heads": 12, "head": 64},
         {"sentences": 32, "length": 128, "heads": 12, "head": 64}),
        attention_inputs, attention_call, attention_prepare, attention_torch, "torch sdpa",
        lambda sentences, length, heads, head: 32 * sentences * length * heads * head,
        lambda sentences, length, heads, head: 14 * sentences * length * length * heads * head, "product"),
    "masked_softmax_dropout": KernelCase(
        ({"rows": 8, "columns": 9}, {"rows": 12288, "columns": 32}, {"rows": 49152, "columns": 128}),
        masked_inputs, masked_call, leaves, masked_torch, "torch",
        lambda rows, columns: 22 * rows * columns + 8 * rows, lambda rows, columns: 12 * rows * columns),
    "embedding": KernelCase(
        ({"tokens": 16, "vocabulary": 8, "hidden": 8}, {"tokens": 1024, "vocabulary": 119547, "hidden": 768},
         {"tokens": 8192, "vocabulary": 2000, "hidden": 768}),
        embedding_inputs, embedding_call, leaves, embedding_torch, "torch coalesce",
        lambda tokens, vocabulary, hidden: 4 * tokens * hidden + 4 * min(tokens, vocabulary) * hidden,
        lambda tokens, vocabulary, hidden: tokens * hidden),
    "adamw": KernelCase(
        ({"weights": 100}, {"weights": 100_000}, {"weights": 10_000_000}),
        adamw_inputs, adamw_call, adamw_prepare, lambda optimizer: optimizer.step(), "torch fused",
        lambda weights: 28 * weights, lambda weights: 14 * weights),
}
