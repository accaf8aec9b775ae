"""The family of transformers: an encoder folder with a new head and, if the method needs one, a language discriminator."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minixl.building import mean_pooled
from minixl.building.family import Family, NewModel, Request
from minixl.building.info import COPY, ModelInfo
from minixl.data.batching import KeptStates
from minixl.data.encoding import Example, PieceTokenizer
from minixl.data.examples import TAGGING
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.models.bert import WORD_TABLE
from minixl.models.bert_config import BertConfig, encoder_shapes
from minixl.models.discriminators import Discriminator
from minixl.models.family import Model
from minixl.models.frozen_bottom import FrozenBottom, check_frozen
from minixl.models.transformer import Transformer, transformer_shapes
from minixl.settings import Section, Setting, Settings
from minixl.weights.folder import check_sizes, load_parameters, read_config
from minixl.weights.mapped_table import mapped_table
from minixl.weights.tokenizer import Tokenizer

NAME = "transformer"
CLASSES = {"bert": "Bert", "xlm-roberta": "XLMRoberta"}                     # prefix of the classes of transformers
ARCHITECTURES = {"token": "ForTokenClassification", "cls": "ForSequenceClassification"}
LOADERS = {"token": "AutoModelForTokenClassification", "cls": "AutoModelForSequenceClassification",
           "mean": "`AutoModelForSequenceClassification.from_pretrained(\"PATH/TO/THIS/FOLDER\", trust_remote_code=True)`, which "
                   "runs modeling_minixl.py of this folder and gives the probabilities that minixl gives"}


class TransformerFamily(Family):
    """BERT or XLM-R with a head."""

    name, scheme, unit = NAME, "IOB2", "word pieces"
    section = Section("model: transformer", {
        "model.keep_frozen": Setting(False, "compute the states of the frozen bottom layers once per sentence, without dropout, "
                                            "and keep them"),
        "model.keep_frozen_mb": Setting(2048, "memory for the states that model.keep_frozen keeps, in MiB; the rest goes to disk",
                                        at_least=1),
    }, used=lambda settings: settings["model.type"] == NAME)

    def check(self, settings: Settings, inputs: Inputs) -> None:
        if inputs.encoder is not None:
            read_config(inputs.encoder)                                # report a mistyped folder before reading any file

    def check_model(self, settings: Settings, model: Any) -> None:
        if settings["model.keep_frozen"]:
            check_frozen(model.bert)

    def build(self, request: Request) -> NewModel:
        settings, inputs = request.settings, request.inputs
        if inputs.encoder is None:
            raise UserError("--encoder: expected a Hugging Face folder with a BERT or an XLM-R, for example --encoder ./mbert")
        if inputs.vectors:
            raise UserError("--vectors: a transformer has its own embeddings; leave this option out, or use a bilstm-crf recipe")
        config = read_config(inputs.encoder)
        tokenizer = Tokenizer(inputs.encoder, config.vocab_size)
        if settings["data.max_length"] > config.max_pieces:
            raise UserError(f"data.max_length: {settings['data.max_length']} word pieces are more than the encoder's "
                            f"{config.max_pieces} positions ({inputs.encoder / 'config.json'})")
        if settings["model.dropout"] >= 0:
            config = replace(config, hidden_dropout_prob=settings["model.dropout"],
                             attention_probs_dropout_prob=settings["model.dropout"])
        check_sizes(inputs.encoder, config, lambda: encoder_shapes(config, pooler=False))
        model = Transformer(config, request.labels, _pooling(settings), discriminator=request.discriminator.kind,
                            discriminator_size=request.discriminator.size, xp=request.xp)
        model.initialise(np.random.Generator(np.random.PCG64([request.seed, 1])))
        report = load_parameters(inputs.encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")},
                                 optional=model.head_names())
        new = tuple(name for name in model.head_names() + model.discriminator_names() if name not in report.loaded)
        return NewModel(model, tokenizer, config.raw, [str(replace(report, missing=new))])

    def freeze(self, model: Any, patterns: Sequence[str]) -> None:
        """Freeze by pattern; bottom:N freezes the embeddings and the lowest N layers."""
        for pattern in patterns:
            kind, colon, count = pattern.partition(":")
            if kind == "bottom" and colon:
                layers = model.config.num_hidden_layers
                if not count.isdigit() or int(count) > layers:
                    raise UserError(f"model.freeze: {pattern}: expected bottom:N with N from 0 to {layers}")
                model.store.freeze(["bert.embeddings.*", *(f"bert.encoder.layer.{i}.*" for i in range(int(count)))])
            else:
                model.store.freeze([pattern])

    def kept_states(self, settings: Settings, model: Any, texts: Sequence[Sequence[Example]],
                    folder: Path) -> list[KeptStates | None]:
        """With model.keep_frozen, keep up to model.keep_frozen_mb in memory and the rest in unnamed files in `folder`.

        The system's folder for temporary files would not do: it may itself be memory.
        """
        if not settings["model.keep_frozen"]:
            return [None] * len(texts)
        room = settings["model.keep_frozen_mb"] << 20
        kept: list[KeptStates | None] = []
        for text in texts:
            bottom = FrozenBottom(model.bert, text, memory_bytes=room, folder=folder)
            room -= 0 if isinstance(bottom.states, np.memmap) else bottom.states.nbytes
            kept.append(bottom)
        return kept

    def config(self, info: ModelInfo, raw_config: Mapping[str, Any]) -> dict[str, Any]:
        model_type = BertConfig.from_json(raw_config).model_type
        raw_config = {key: value for key, value in raw_config.items() if key != "auto_map"}
        if info.pooling == "mean":
            return raw_config | mean_pooled.config_json(model_type)
        return {**raw_config, "architectures": [CLASSES[model_type] + ARCHITECTURES[info.pooling]], "model_type": model_type}

    def code(self, info: ModelInfo, raw_config: Mapping[str, Any]) -> dict[str, str]:
        if info.pooling != "mean":
            return {}
        model_type = BertConfig.from_json(raw_config).model_type
        return {mean_pooled.FILE: mean_pooled.modeling_file(model_type, CLASSES[model_type])}

    def load(self, folder: Path, info: ModelInfo, xp: Any, *, read_only: bool = False) -> tuple[Model, PieceTokenizer]:
        config = read_config(folder)
        if info.max_length > config.max_pieces:
            raise UserError(f"{folder / 'minixl.json'}: max_length: expected at most {config.max_pieces} "
                            f"(the positions of config.json), found {info.max_length}; {COPY}")
        discriminator = Discriminator(info.discriminator, info.discriminator_size)
        check_sizes(folder, config, lambda: transformer_shapes(config, len(info.labels), info.pooling, *discriminator))
        tokenizer = Tokenizer(folder, config.vocab_size)               # before the weights, which then use the memory it frees
        model = Transformer(config, info.labels, info.pooling, discriminator=discriminator.kind,
                            discriminator_size=discriminator.size, xp=xp)
        mapped = [WORD_TABLE] if read_only and xp is np else []
        load_parameters(folder, {parameter.name: parameter.value for parameter in model.store if parameter.name not in mapped})
        for name in mapped:
            model.store[name].value = mapped_table(folder, name, model.store.dtype)
        return model, tokenizer

    def card(self, info: ModelInfo) -> str:
        return f"`transformers` loads it with {LOADERS[info.pooling]}"


def _pooling(settings: Settings) -> str:
    tagging = settings["task"] in TAGGING
    pooling = settings["model.pooling"]
    if pooling == "auto":
        pooling = "token" if tagging else "mean"
    if tagging != (pooling == "token"):
        raise UserError(f"model.pooling: {pooling} does not fit task {settings['task']}; expected "
                        f"{'token' if tagging else 'mean or cls'}")
    return str(pooling)
