"""A trained model on disk: a Hugging Face folder, plus minixl.json and a model card.

    config.json, model.safetensors, tokenizer files     what `transformers` reads
    minixl.json                                         task, labels, scheme, head, length limit, how it was trained
    README.md                                           the model card
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from minixl import __version__
from minixl.backend import to_numpy
from minixl.data.encoding import ON_LONG, PieceTokenizer
from minixl.data.lexicon import Lexicon
from minixl.data.schemes import label_set
from minixl.data.schemes import legal_transitions
from minixl.errors import UserError
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from minixl.models.family import Model
from minixl.models.transformer import Transformer
from minixl.weights.folder import load_parameters, read_config, read_json, save_folder
from minixl.weights.names import summary
from minixl.weights.tokenizer import Tokenizer

FAMILIES = ("transformer", "bilstm-crf")
DISCRIMINATORS = ("none", "sentence", "token")
ARCHITECTURES = {"token": "BertForTokenClassification", "cls": "BertForSequenceClassification", "mean": "BertModel"}


@dataclass(frozen=True)
class ModelInfo:
    """minixl.json."""

    task: str
    labels: list[str]
    scheme: str                        # of the labels: "IOB2", "IOBES", or "none" for plain tags and classes
    pooling: str
    max_length: int
    on_long: str = "window"
    family: str = "transformer"
    discriminator: str = "none"        # a language discriminator that the parameters hold as well
    discriminator_size: int = 500
    constrained: bool = True
    method: str = ""
    sources: list[str] = field(default_factory=list)
    seed: int = 0
    scores: dict[str, Any] = field(default_factory=dict)
    minixl: str = __version__

    def file_labels(self) -> list[str]:
        """The labels as files are read: spans in IOB2, whatever scheme the model works in."""
        if self.scheme in ("IOB2", "none"):
            return self.labels
        return label_set([self.labels], "IOB2")


def save_model(folder: Path, model: Model, tokenizer: PieceTokenizer, info: ModelInfo, raw_config: Mapping[str, Any]) -> None:
    """Write the folder in one go: a reader sees the old one or the new one, never half."""
    kind = {"architectures": [ARCHITECTURES[info.pooling]], "model_type": "bert"} if info.family == "transformer" else {}
    config = {**raw_config, **kind,
              "id2label": {str(i): label for i, label in enumerate(info.labels)},
              "label2id": {label: i for i, label in enumerate(info.labels)}, "num_labels": len(info.labels)}
    tensors = {parameter.name: to_numpy(parameter.value) for parameter in model.store}
    save_folder(folder, config, tensors, tokenizer, asdict(info), model_card(info))


def load_model(folder: Path, *, xp: Any = np) -> tuple[Model, PieceTokenizer, ModelInfo]:
    """Read a folder that save_model wrote.  Raises UserError when it is not one."""
    info = read_info(folder)
    if info.family == "bilstm-crf":
        return *_load_bilstm_crf(folder, info, xp), info
    config = read_config(folder)
    model = Transformer(config, info.labels, info.pooling, discriminator=info.discriminator,
                        discriminator_size=info.discriminator_size, xp=xp)
    load_parameters(folder, {parameter.name: parameter.value for parameter in model.store})
    return model, Tokenizer(folder, config.vocab_size), info


def _load_bilstm_crf(folder: Path, info: ModelInfo, xp: Any) -> tuple[BilstmCrf, Lexicon]:
    lexicon = Lexicon.load(folder)
    config = BilstmCrfConfig.from_json(read_json(folder / "config.json"), str(folder / "config.json"))
    try:
        model = BilstmCrf(config, info.labels, lexicon, xp=xp)
    except UserError as error:
        raise UserError(f"{folder}: {error}, copy the model folder again") from None
    report = load_parameters(folder, {parameter.name: parameter.value for parameter in model.store})
    if report.left_out:
        raise UserError(f"{folder / 'config.json'}: the model it describes has no {summary(report.left_out, most=3)}, which the "
                        "weights have; the files belong to different models, copy the model folder again")
    return model, lexicon


def read_info(folder: Path) -> ModelInfo:
    """minixl.json of a model folder."""
    path = folder / "minixl.json"
    if not path.is_file():
        raise UserError(f"{folder}: expected a model folder with minixl.json, found "
                        f"{'none in it' if folder.is_dir() else 'no such folder'}; {_where_a_model_is(folder)}")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(ModelInfo)}
        missing = [name for name, required in known.items() if required and name not in stored]
        if missing:
            raise UserError(f"{path}: expected {', '.join(missing)}, found a description without; copy the model folder again")
        info = ModelInfo(**{name: value for name, value in stored.items() if name in known})
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a model description of minixl: {error}; copy the model folder again") from None
    _check_values(path, info)
    fitting = {"ner": ("token",), "pos": ("token",), "classification": ("mean", "cls")}
    if info.pooling not in fitting.get(info.task, ()):
        raise UserError(f"{path}: expected the task ner or pos with pooling token, or classification with mean or cls, "
                        f"found {info.task!r} with {info.pooling!r}")
    return info


def _where_a_model_is(folder: Path) -> str:
    """The cure where there is no model: often a run's folder is meant, or a model that a run is still to write."""
    run = folder.parent if folder.name == "model" and not folder.exists() else folder
    inner = next((path.parent for path in (run / "model" / "minixl.json", *sorted(run.glob("seed-*/model/minixl.json")))
                  if path.is_file()), None)
    if inner:
        return f"did you mean {inner}?"
    if (run / "config.toml").is_file():
        return f"the run is not finished, continue it with minixl train --resume --out {run}"
    return "`minixl train` writes one to RUN/model"


def _check_values(path: Path, info: ModelInfo) -> None:
    """Raises UserError for a value of minixl.json that nothing could be done with."""
    wrong = next((name for name, fits in (
        ("family", info.family in FAMILIES), ("on_long", info.on_long in ON_LONG),
        ("max_length", type(info.max_length) is int and info.max_length > 0),
        ("discriminator", info.discriminator in DISCRIMINATORS),
        ("discriminator_size", type(info.discriminator_size) is int and info.discriminator_size > 0),
        ("labels", isinstance(info.labels, list) and all(isinstance(label, str) for label in info.labels))) if not fits), None)
    if wrong:
        expected = {"family": f"one of {', '.join(FAMILIES)}", "on_long": f"one of {', '.join(ON_LONG)}",
                    "max_length": "a whole number above 0", "discriminator": f"one of {', '.join(DISCRIMINATORS)}",
                    "discriminator_size": "a whole number above 0", "labels": "a list of names"}[wrong]
        raise UserError(f"{path}: {wrong}: expected {expected}, found {getattr(info, wrong)!r}")
    try:
        legal_transitions(info.labels if info.task == "ner" else [], info.scheme)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def model_card(info: ModelInfo) -> str:
    """README.md of the folder."""
    figures = "\n".join(f"| {language} | {100 * scores.get('f1', scores.get('accuracy', 0)):.1f} |"
                        for language, scores in info.scores.items())
    table = f"\n## Scores on the test files\n\n| language | {'F1' if info.task == 'ner' else 'accuracy'} |\n|---|---|\n{figures}\n"
    loads = {"token": "AutoModelForTokenClassification", "cls": "AutoModelForSequenceClassification",
             "mean": "AutoModel (the head on the mean of its last hidden states is classifier.weight and classifier.bias)"}
    words = "words" if info.family == "bilstm-crf" else "word pieces"
    origin = (f"`transformers` loads it with {loads[info.pooling]}" if info.family == "transformer"
              else "a bidirectional LSTM with a conditional random field; lexicon.json has its words and characters; "
                   "other words are read by their spelling")
    return f"""# {info.task} model of minixl {info.minixl}

Method {info.method or 'unknown'}, trained on labelled {', '.join(info.sources) or 'unknown'} text, seed {info.seed}.

- labels: {', '.join(info.labels)}
- scheme: {info.scheme}; head: {info.pooling}; at most {info.max_length} {words} ({info.on_long} beyond)
- {origin}
{table if figures else ''}
## Use

```console
$ echo "Angela Merkel visited Seville." | minixl predict PATH/TO/THIS/FOLDER
```

```python
import minixl
model = minixl.load("PATH/TO/THIS/FOLDER")
model.predict(["Angela Merkel visited Seville."])
```
"""
