"""Read stored pseudo-labels."""
from pathlib import Path

from minixl.methods.advpicker.files import LABELS, PseudoLabels, labels_of
from minixl.run.once import Origin, read


def read_pseudo_labels(path: Path, made_from: Origin | None = None) -> PseudoLabels:
    """Read LANGUAGE.safetensors; made_from=None accepts any origin."""
    return labels_of(path, read(path, LABELS, made_from))
