"""A trained model on disk: a Hugging Face folder, plus minixl.json and a model card.

    config.json, model.safetensors, tokenizer files     what `transformers` reads
    minixl.json                                         task, labels, scheme, head, length limit, how it was trained; info.py
    README.md                                           the model card
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minixl.backend import to_numpy
from minixl.building.families import FAMILIES
from minixl.building.info import ModelInfo, read_info
from minixl.data.encoding import PieceTokenizer
from minixl.distributed import on_one_rank
from minixl.errors import DETAILS, UserError
from minixl.models.family import Model
from minixl.weights.folder import save_folder


@on_one_rank
def save_model(folder: Path, model: Model, tokenizer: PieceTokenizer, info: ModelInfo, raw_config: Mapping[str, Any],
               dtype: str = "") -> None:
    """Write the folder atomically: a reader finds the old one or the new one, never half of either.

    dtype: of the stored weights; "": that of the model.  Raises UserError for weights that float16 cannot hold.
    """
    config = {**FAMILIES[info.family].config(info, raw_config),
              "id2label": {str(i): label for i, label in enumerate(info.labels)},
              "label2id": {label: i for i, label in enumerate(info.labels)}, "num_labels": len(info.labels)}
    tensors = {parameter.name: _converted(parameter.name, to_numpy(parameter.value), dtype) for parameter in model.store}
    save_folder(folder, config, tensors, tokenizer, asdict(info), model_card(info), FAMILIES[info.family].code(info, raw_config))


def _converted(name: str, value: np.ndarray, dtype: str) -> np.ndarray:
    if not dtype or value.dtype == dtype:
        return value
    largest, limit = max(-value.min(), value.max()), np.finfo(dtype).max
    if largest > limit:
        raise UserError(f"model.save_dtype: {name}: expected weights of at most {limit:g}, the largest {dtype}, found {largest:g}; "
                        "train in a new --out folder with model.save_dtype=float32")
    return value.astype(dtype)


def load_info(folder: Path) -> ModelInfo:
    """Read minixl.json of a model folder.  Raises UserError if the folder is not one."""
    return read_info(folder, tuple(FAMILIES))


def load_model(folder: Path, *, xp: Any = np, read_only: bool = False) -> tuple[Model, PieceTokenizer, ModelInfo]:
    """Read a folder that save_model wrote.  Raises UserError if it is not one.

    read_only: for a model that is not trained any further; it takes less time and memory.
    """
    info = load_info(folder)
    model, tokenizer = FAMILIES[info.family].load(folder, info, xp, read_only=read_only)
    DETAILS.debug("%s: %s for the task %s with %d labels, %s weights, inputs of at most %d %s", folder, info.family, info.task,
                  len(info.labels), f"{model.store.count():,}", info.max_length, FAMILIES[info.family].unit)
    return model, tokenizer, info


def model_card(info: ModelInfo) -> str:
    """Return the README.md of the folder."""
    family = FAMILIES[info.family]
    figures = "\n".join(f"| {language} | {100 * scores.get('f1', scores.get('accuracy', 0)):.1f} |"
                        for language, scores in info.scores.items())
    table = f"\n## Scores on the test files\n\n| language | {'F1' if info.task == 'ner' else 'accuracy'} |\n|---|---|\n{figures}\n"
    return f"""# {info.task} model of minixl {info.minixl}

Method {info.method or 'unknown'}, trained on labelled {', '.join(info.sources) or 'unknown'} text, seed {info.seed}.

- labels: {', '.join(info.labels)}
- scheme: {info.scheme}; head: {info.pooling}; at most {info.max_length} {family.unit} ({info.on_long} beyond)
- {family.card(info)}
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
