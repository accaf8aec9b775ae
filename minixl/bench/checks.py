"""Checks before anything is measured: the result files can be written, and the other engine is installed."""
from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from minixl.errors import UserError

# engine -> module that it needs -> package that provides it
PACKAGES = {"transformers": {"torch": "torch", "transformers": "transformers"},
            "torch": {"torch": "torch", "torchcrf": "pytorch-crf"}, "faiss": {"faiss": "faiss-cpu"},
            "onnxruntime": {"onnxruntime": "onnxruntime", "onnx": "onnx", "torch": "torch", "transformers": "transformers"},
            "openvino": {"openvino": "openvino", "onnx": "onnx", "torch": "torch", "transformers": "transformers"}}
EXTRAS = {"faiss": "bench", "onnxruntime": "bench", "openvino": "bench"}       # of minixl; for the other engines it is test


def require_installed(against: str, engine: str) -> None:
    """Raise UserError if a package of the other engine is not installed."""
    for module, package in PACKAGES[engine].items():
        if importlib.util.find_spec(module) is None:
            raise UserError(f"--against {against}: {package} is not installed; install it with: "
                            f"pip install 'minixl[{EXTRAS.get(against, 'test')}]'")


def require_writable(option: str, file: Path | None) -> None:
    """Raise UserError, naming the option, if `file` cannot be written.  An existing file keeps its content."""
    if file is None:
        return
    if not file.absolute().parent.is_dir():
        raise UserError(f"{option} {file}: there is no folder {file.parent}")
    target = Path(os.path.realpath(file))              # for a dangling link: the file that writing would create
    try:
        is_new = not target.exists()
        with target.open("ab"):
            pass
        if is_new:
            target.unlink()
    except OSError as error:
        raise UserError(f"{option} {file}: cannot be written ({error.strerror or error}); choose another file") from None
