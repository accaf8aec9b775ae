"""Checkpoints: a run can stop at any moment and continue from the last complete state.

    checkpoint/latest.json               the files of the newest state, and everything that is not an array
    checkpoint/state-STEP.safetensors    parameters and optimiser moments at STEP
    checkpoint/NAME-STEP.safetensors     parameters at the step with the highest score for NAME ("best", "oracle-es")

latest.json is replaced last, atomically; then the files that it does not name are deleted.
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from minixl.backend import to_numpy
from minixl.distributed import on_one_rank
from minixl.errors import UserError
from minixl.files import replaced_file, write_atomically
from minixl.parameters import ParameterStore


class Checkpoint:
    """The checkpoint folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cure = f"make room and continue with minixl train --resume --out {folder.parent}"
        self.files: dict[str, str] = {}

    @classmethod
    def of_run(cls, folder: Path) -> Checkpoint:
        """Return the checkpoint of the run in a folder."""
        return cls(folder / "checkpoint")

    def exists(self) -> bool:
        """Whether the folder has a state to continue from."""
        return (self.folder / "latest.json").is_file()

    def step(self) -> int:
        """Return the step of the state to continue from.  Raises UserError for a damaged checkpoint."""
        with self.readable():
            return int(json.loads((self.folder / "latest.json").read_text(encoding="utf-8"))["step"])

    @on_one_rank
    def remove(self) -> None:
        """Delete its files, and the folder unless it holds others.  Deletes what it can, since nobody needs them any more."""
        for path in (self.folder / "latest.json", *self.folder.glob("*.safetensors"), *self.folder.glob("*.new")):
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def snapshot(self, name: str, step: int, store: ParameterStore) -> None:
        """Save the current trainable parameters under a name, in place of an earlier snapshot of that name."""
        self.files[name] = self._save(f"{name}-{step}.safetensors", parameters_of(store))

    def restore(self, name: str, store: ParameterStore) -> None:
        """Restore the parameters of a snapshot."""
        arrays = self._load(self.files[name])
        for parameter in trainable(store):
            parameter.value[...] = store.xp.asarray(arrays[parameter.name])

    def save(self, step: int, store: ParameterStore, optimizers: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write parameters, moments and `state` (JSON values) of a step; the previous state stays until this one is complete."""
        arrays = {f"parameter/{name}": value for name, value in parameters_of(store).items()}
        for loss, optimizer in optimizers.items():
            arrays.update({f"optimizer/{loss}/{key}": to_numpy(value) for key, value in optimizer.state_dict().items()})
        self.files["state"] = self._save(f"state-{step}.safetensors", arrays)
        self._replace(json.dumps({"step": step, "files": self.files, **state}))

    def load(self, store: ParameterStore, optimizers: Mapping[str, Any]) -> dict[str, Any]:
        """Restore parameters and moments; return the rest of the state.  Raises UserError for a damaged checkpoint."""
        with self.readable():
            state = json.loads((self.folder / "latest.json").read_text(encoding="utf-8"))
            self.files = dict(state["files"])
            arrays = self._load(self.files["state"])
            for parameter in trainable(store):
                parameter.value[...] = store.xp.asarray(arrays[f"parameter/{parameter.name}"])
            for loss, optimizer in optimizers.items():
                prefix = f"optimizer/{loss}/"
                optimizer.load_state_dict({key.removeprefix(prefix): value for key, value in arrays.items()
                                           if key.startswith(prefix)})
        return state

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Turn the errors of reading a damaged or foreign checkpoint into a UserError."""
        try:
            yield
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.folder / 'latest.json'}: the checkpoint cannot be read ({error}); start again with a new "
                            "--out folder") from None

    @on_one_rank
    def _replace(self, content: str) -> None:
        """Write latest.json, then delete the files that it does not name."""
        write_atomically(self.folder / "latest.json", content, self.cure)
        for path in self.folder.glob("*.safetensors*"):
            if path.name not in self.files.values():
                path.unlink()

    @on_one_rank
    def _save(self, name: str, arrays: Mapping[str, np.ndarray]) -> str:
        with replaced_file(self.folder / name, self.cure) as fresh:
            save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, fresh)
        return name

    def _load(self, name: str) -> dict[str, np.ndarray]:
        path = self.folder / name
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: the checkpoint is damaged ({error}); start again with a new --out folder") from None


def trainable(store: ParameterStore) -> list:
    """Return the parameters that a checkpoint holds; the others are still those of the encoder folder."""
    return [parameter for parameter in store if parameter.trainable]


def parameters_of(store: ParameterStore) -> dict[str, np.ndarray]:
    """Return name -> value on the CPU for every trainable parameter."""
    return {parameter.name: to_numpy(parameter.value) for parameter in trainable(store)}
