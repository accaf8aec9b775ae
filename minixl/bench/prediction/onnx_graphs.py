"""A tagger of transformers as an ONNX graph, written to files that ONNX Runtime and OpenVINO read.

    plain     as PyTorch exports it, with attention written out
    fused     the same after ONNX Runtime's optimiser for BERT: attention, residual + LayerNorm, bias + gelu are one operator each
    int8      the fused graph with the weights of its products in 8 bits, and activations quantised as they come
"""
from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minixl.errors import UserError

INPUTS = ("input_ids", "attention_mask")
OPSET = 17


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep back what the libraries print about their own progress and future."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def write_plain(model: Any, path: Path) -> Path:
    """Export a tagger of transformers: input_ids and attention_mask (B, N) -> logits (B, N, K), for any B and N."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    before = model.config._attn_implementation
    model.eval()
    model.set_attn_implementation("eager")                             # the form that the optimiser recognises
    ones = torch.ones((2, 9), dtype=torch.int64)
    axes = {name: {0: "texts", 1: "pieces"} for name in (*INPUTS, "logits")}
    try:
        with _silent(), torch.no_grad():
            torch.onnx.export(Logits(), (ones, ones), str(path), dynamo=False, opset_version=OPSET, input_names=list(INPUTS),
                              output_names=["logits"], dynamic_axes=axes)
    finally:
        model.set_attn_implementation(before)
    return path


def write_fused(plain: Path, path: Path, *, heads: int, hidden: int) -> Path:
    """Fuse the operators of the plain graph.  Raises UserError if the optimiser did not recognise an encoder layer."""
    with _silent():
        from onnxruntime.transformers import optimizer
        from onnxruntime.transformers.fusion_options import FusionOptions

        fused = optimizer.optimize_model(str(plain), model_type="bert", num_heads=heads, hidden_size=hidden, opt_level=1,
                                         optimization_options=FusionOptions("bert"))
        if not fused.get_fused_operator_statistics()["Attention"]:
            raise UserError("onnxruntime: its optimiser did not recognise the attention of this encoder")
        fused.save_model_to_file(str(path))
    return path


def write_int8(fused: Path, path: Path) -> Path:
    """Quantise the weights of the products."""
    with _silent():
        from onnx import TensorProto
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(str(fused), str(path), weight_type=QuantType.QInt8, per_channel=True,
                         extra_options={"DefaultTensorType": TensorProto.FLOAT})       # of what fused operators return
    return path
