"""minixl: cross-lingual transfer for taggers and classifiers, every forward and backward pass written by hand."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from minixl.prediction import Predictor

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
