"""Pseudo-labels on disk: written in one go, and never used for text or teachers they were not made from.

    NAME.safetensors     probabilities (W, K), starts (N+1,), p_bar (N,), teacher (N,), selected (N,)
                         in its metadata, under "minixl", JSON: labels, what it was made from, a digest of the arrays
    NAME.conll           the selected sentences as labelled text, to look at and to train on

A word a line in NAME.conll, columns separated by tabs: the word, the probability of its tag, the tag.  Before each
sentence stands a comment such as

    # sentence 12: teacher seed-550, source probability 0.4132, independence 0.9132

where 12 is its place in the text, the sentences that were not selected counted.

What one teacher says of the text before it is merged with the others (`Scored`) is stored in the same way, so that a run
that was stopped scores the text with the remaining teachers only.  Test: tests/methods/advpicker/test_files.py.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minixl import __version__
from minixl.data.examples import Sentence
from minixl.data.schemes import written
from minixl.errors import UserError
from minixl.methods.advpicker.labels import Merged, Scored, best_labels, independence
from minixl.files import replaced_file

SCORING = ("data.max_length", "data.on_long", "data.encoding", "adversary.specials")
SELECTING = (*SCORING, "data.unlabelled_limit", "advpicker.merge", "advpicker.rho")

CURE = "make room and continue with --resume"                           # where a file cannot be written
UNREADABLE = (OSError, SafetensorError, ValueError, KeyError, TypeError)   # what reading a file that is not ours raises

Origin = dict[str, str]                # "unlabelled es", "teacher seed-1", "setting data.max_length" -> digest or value


@dataclass(frozen=True)
class PseudoLabels:
    """The soft labels of one language's unlabelled text, and which sentences a student is to learn from."""

    merged: Merged
    selected: np.ndarray               # (N,) bool
    labels: list[str]                  # (K,)
    teachers: list[str]                # their names, by the index in merged.teacher


def origin(texts: Mapping[str, str], teachers: Mapping[str, str], settings: Mapping[str, Any], names: Sequence[str]) -> Origin:
    """What pseudo-labels are made from: digests of texts by role and language and of teachers by name, and settings."""
    return {**texts, **{f"teacher {name}": digest for name, digest in teachers.items()},
            **{f"setting {name}": json.dumps(settings[name]) for name in names}}


def is_made_from(path: Path, made_from: Origin) -> bool:
    """Whether the file holds what was made from just this.  Reads its header alone: the arrays may be damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            return bool(_header(file)["made_from"] == made_from)
    except UNREADABLE:
        return False


# One file each

def write_scored(path: Path, scored: Scored, made_from: Origin) -> None:
    """What one teacher says, in one go."""
    _write(path, "scores of a teacher", scored._asdict(), {"made_from": made_from})


def read_scored(path: Path, made_from: Origin) -> Scored:
    """The opposite of write_scored.  Raises UserError as read_pseudo_labels does."""
    arrays, _ = _read(path, "scores of a teacher", made_from)
    return Scored(*_checked(path, arrays, Scored._fields, ("p_bar", "max_logit")))


def write_pseudo_labels(path: Path, labels: PseudoLabels, made_from: Origin) -> None:
    """All of it, in one go."""
    _write(path, "pseudo-labels", {**labels.merged._asdict(), "selected": labels.selected},
           {"labels": labels.labels, "teachers": labels.teachers, "made_from": made_from})


def read_pseudo_labels(path: Path, made_from: Origin | None = None) -> PseudoLabels:
    """The opposite of write_pseudo_labels.

    Raises UserError for a file that is damaged or, where made_from is given, was made from something else.
    """
    arrays, header = _read(path, "pseudo-labels", made_from)
    *merged, selected = _checked(path, arrays, (*Merged._fields, "selected"), ("p_bar", "teacher", "selected"))
    labels, teachers = header.get("labels"), header.get("teachers")
    if not isinstance(labels, list) or not isinstance(teachers, list) or len(labels) != merged[0].shape[1] \
            or not np.isin(merged[3], np.arange(len(teachers))).all():
        raise _damaged(path, "labels or teachers do not fit the arrays")
    return PseudoLabels(Merged(*merged), selected, labels, teachers)


def _write(path: Path, kind: str, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = {"kind": kind, **header, "arrays": _arrays_digest(arrays), "version": __version__}
    with replaced_file(path, CURE) as fresh:
        save_file(arrays, fresh, {"minixl": json.dumps(described, ensure_ascii=False)})


def _header(file: Any) -> dict[str, Any]:
    """What minixl wrote into an open file's metadata.  Raises one of UNREADABLE for a file of someone else."""
    header: dict[str, Any] = json.loads((file.metadata() or {})["minixl"])
    return header


def _read(path: Path, kind: str, made_from: Origin | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"{path}: expected {kind}, found {'a folder' if path.is_dir() else 'no file'}")
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(file)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        found, stored, checksum = header["kind"], header["made_from"], header["arrays"]
    except UNREADABLE as error:
        raise _damaged(path, str(error) if isinstance(error, SafetensorError | OSError) else "no header of minixl") from None
    if found != kind:
        raise UserError(f"{path}: expected {kind}, found {found}")
    if checksum != _arrays_digest(arrays):
        raise _damaged(path, "the arrays have changed")
    if made_from is not None and stored != made_from:
        name = next(name for name in [*made_from, *stored] if made_from.get(name) != stored.get(name))
        change = "is new" if name not in stored else "is gone" if name not in made_from else "has changed"
        raise UserError(f"{path}: made from something else: {name} {change}; delete the file to have it made again")
    return arrays, header


def _checked(path: Path, arrays: Mapping[str, np.ndarray], names: Sequence[str], by_sentence: Sequence[str]) -> list[np.ndarray]:
    """The arrays in this order.  Raises UserError where one is missing or their shapes do not fit each other."""
    missing = [name for name in names if name not in arrays]
    if missing:
        raise _damaged(path, f"{missing[0]} is missing")
    starts, probabilities = arrays["starts"], arrays["probabilities"]
    fits = (starts.ndim == 1 and len(starts) and starts[0] == 0 and (np.diff(starts) >= 0).all()
            and probabilities.ndim == 2 and starts[-1] == len(probabilities)
            and all(arrays[name].shape == (len(starts) - 1,) for name in by_sentence))
    if not fits:
        raise _damaged(path, "the arrays do not fit each other")
    return [arrays[name] for name in names]


def _arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name in sorted(arrays):
        content.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        content.update(arrays[name].tobytes())
    return content.hexdigest()


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path}: the file is damaged ({why}); delete it to have it made again")


# For people

def write_conll(path: Path, sentences: Sequence[Sentence], labels: PseudoLabels, scheme: str = "IOB2", *,
                constrained: bool = True) -> None:
    """NAME.conll, in one go.  sentences: all of the text, of which the selected ones are written.

    Words of a truncated sentence that no teacher read are left out, and the comment says so.
    """
    with replaced_file(path, CURE) as fresh, open(fresh, "w", encoding="utf-8") as file:
        file.writelines(_conll_lines(sentences, labels, scheme, constrained))


def _conll_lines(sentences: Sequence[Sentence], labels: PseudoLabels, scheme: str, constrained: bool) -> Iterator[str]:
    merged = labels.merged
    best = best_labels(merged, labels.labels, scheme, constrained=constrained)                 # (W,)
    probabilities = merged.probabilities[np.arange(len(best)), best]                           # (W,)
    tags, scores = written(best, merged.starts, labels.labels, scheme), independence(merged.p_bar)
    for i, (sentence, sequence) in enumerate(zip(sentences, tags, strict=True)):
        if not labels.selected[i]:
            continue
        cut = f", first {len(sequence)} of {len(sentence.words)} words" if len(sequence) < len(sentence.words) else ""
        yield (f"# sentence {i + 1}: teacher {labels.teachers[merged.teacher[i]]}, source probability {merged.p_bar[i]:.4f}, "
               f"independence {scores[i]:.4f}{cut}\n")
        for word, probability, tag in zip(sentence.words, probabilities[merged.starts[i]:], sequence, strict=False):
            yield f"{word}\t{probability:.4f}\t{tag}\n"
        yield "\n"
