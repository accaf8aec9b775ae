"""minixl: cross-lingual transfer for taggers and classifiers, every forward and backward pass written by hand."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from minixl.prediction import Predictor
    from minixl.training.metrics import Metrics
    from minixl.training.progress import Reporter

    Files = Mapping[str, str | Path | Sequence[str | Path]]            # by language

# After a matrix product OpenBLAS's worker threads spin for about 30 ms, waiting for the next one, and take half a core
# from the element-wise passes in between.  2^16 cycles are enough to catch products that follow each other directly;
# measured in docs/performance.md.  It must be set before NumPy is imported for the first time.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")

__version__ = "0.1.0"


def load(folder: str | Path, *, device: str = "auto") -> Predictor:
    """Load a model folder: minixl.load("runs/es/model").predict(["A text.", "Another."]).  See minixl/prediction.py."""
    from minixl.prediction import Predictor

    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"load: expected the path of a model folder, got {type(folder).__name__}")
    return Predictor.load(folder, device=device)


def train(recipe: str | Path | None = None, *, encoder: str | Path | None = None, source: Files | None = None,
          dev: Files | None = None, unlabelled: Files | None = None, test: Files | None = None, vectors: Files | None = None,
          settings: Mapping[str, Any] | None = None, out: str | Path | None = None, seed: int | None = None,
          seeds: int | None = None, device: str = "auto", resume: bool = False, reporter: Reporter | None = None) -> Metrics:
    """Train as `minixl train` does, and return the content of metrics.json.

        minixl.train("finetune-ner-cpu", encoder="e5-small", source={"en": "train.txt"}, test={"es": "es.txt"})

    The arguments are the options of the command line; source to vectors map languages to a file or a list of files, and settings
    replaces those of the recipe: {"train.epochs": 3}.  reporter: receives progress; the default logs messages to the logger
    "minixl".
    Raises UserError, whose text is one line, for what the command line refuses.
    """
    from minixl.methods.plan import train_recipe

    files = {"source": source, "dev": dev, "unlabelled": unlabelled, "test": test, "vectors": vectors}
    return train_recipe(recipe, encoder=encoder, files=files, settings=settings, out=out, seed=seed, seeds=seeds, device=device,
                        resume=resume, reporter=reporter)
