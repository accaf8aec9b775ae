"""transformers' Bert- or XLMRobertaForTokenClassification as a contender, run as its Trainer runs it by default.

Batches are padded to their longest sentence, attention is the library's default (scaled_dot_product_attention), the
optimiser is the fused AdamW without decay on LayerNorm and biases, and gradients are set to None.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

from minixl.bench.training.torch_update import freeze, update
from minixl.bench.training.work import BertWork, Examples, rates
from minixl.data.encoding import IGNORED, Example
from minixl.models.bert_config import BertConfig
from minixl.weights.names import names_to_save
from minixl.weights.reading import read_json


class PaddedPieces(NamedTuple):
    """B sentences padded to the longest, N pieces."""

    inputs: dict[str, torch.Tensor]    # input_ids, attention_mask (B, N) int64
    labels: torch.Tensor               # (B, N) int64, on first pieces


def adamw(groups: list[dict[str, Any]], work: BertWork) -> torch.optim.Optimizer:
    """The fused AdamW with the betas and eps of the work."""
    settings = work.settings
    return torch.optim.AdamW(groups, fused=True, eps=settings["optim.eps"],
                             betas=(settings["optim.beta1"], settings["optim.beta2"]))


class TransformersBert:
    """See minixl/bench/training/contender.py."""

    def __init__(self, work: BertWork, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(work.seed)
        transformers.logging.set_verbosity_error()                     # no warning about the missing head: it is intended
        transformers.logging.disable_progress_bar()
        model_type = BertConfig.from_json(read_json(Path(work.encoder) / "config.json")).model_type     # without the engine
        name = {"bert": "Bert", "xlm-roberta": "XLMRoberta"}[model_type]
        config = getattr(transformers, f"{name}Config").from_pretrained(work.encoder, num_labels=len(work.start["classifier.bias"]))
        if work.settings["model.dropout"] >= 0:
            config.hidden_dropout_prob = config.attention_probs_dropout_prob = work.settings["model.dropout"]
        tagger = getattr(transformers, f"{name}ForTokenClassification")
        self.model = tagger.from_pretrained(work.encoder, config=config, dtype=torch.float32)
        for name, value in work.start.items():
            self.model.get_parameter(name).data.copy_(torch.from_numpy(value))
        self.device = work.device
        self.model.to(self.device)
        self.trained = freeze(self.model, list(names_to_save(work.frozen, model_type).values()))
        self.pad_id, self.clip = config.pad_token_id or 0, work.settings["optim.clip"]
        self.optimizer = adamw(self._groups(work), work)

    def _groups(self, work: BertWork) -> list[dict[str, Any]]:
        """Group the parameters: encoder and head, each with and without weight decay."""
        encoder_lr, head_lr = rates(work.settings)
        groups: dict[tuple[bool, bool], list[torch.Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                key = name in work.start, name.endswith(".bias") or "LayerNorm" in name
                groups.setdefault(key, []).append(parameter)
        return [{"params": parameters, "lr": head_lr if head else encoder_lr,
                 "weight_decay": 0.0 if undecayed else work.settings["optim.weight_decay"]}
                for (head, undecayed), parameters in groups.items()]

    def prepare(self, batch: Sequence[Example]) -> PaddedPieces:
        """Pad to the longest sentence of the batch."""
        shape = len(batch), max(len(example.input_ids) for example in batch)
        ids, mask, labels = np.full(shape, self.pad_id), np.zeros(shape, np.int64), np.full(shape, IGNORED)
        for row, example in enumerate(batch):
            ids[row, :len(example.input_ids)] = example.input_ids
            mask[row, :len(example.input_ids)] = 1
            labels[row, example.rows] = example.labels
        tensors = [torch.from_numpy(array).to(self.device) for array in (ids, mask, labels)]
        return PaddedPieces({"input_ids": tensors[0], "attention_mask": tensors[1]}, tensors[2])

    def step(self, prepared: PaddedPieces) -> float:
        """Forward with dropout, backward, clip, update."""
        self.model.train()
        loss = self.model(**prepared.inputs, labels=prepared.labels).loss
        return update(loss, self.trained, self.optimizer, self.clip)

    def loss(self, prepared: PaddedPieces) -> float:
        """Cross-entropy without dropout."""
        self.model.eval()
        with torch.inference_mode():
            return float(self.model(**prepared.inputs, labels=prepared.labels).loss)

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Batch by batch, each padded to its longest sentence."""
        self.model.eval()
        scores = []
        with torch.inference_mode():
            for batch in batches:
                logits = self.model(**self.prepare(batch).inputs).logits
                log_probs = logits.log_softmax(-1).cpu().numpy()             # (B, N, K)
                scores += [log_probs[row, example.rows] for row, example in enumerate(batch)]
        return scores
