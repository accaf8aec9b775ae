"""AdvPicker's teachers: trained for the run, or taken from another one.  Stage A of minixl/methods/advpicker/pipeline.py."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minixl.files import folder_digest
from minixl.errors import UserError
from minixl.data.inputs import Inputs, key
from minixl.building.folder import read_info
from minixl.training.progress import Reporter, Stop, stop_here
from minixl.run.folder import began_with, check_same, check_unchanged, is_finished
from minixl.settings import Settings
from minixl.methods.advpicker.variants import teacher_settings

Train = Callable[..., dict[str, Any]]      # minixl.run.job.train_run


class Teacher(NamedTuple):
    """A finished teacher."""

    folder: Path                       # its model
    digest: str


def train_teachers(settings: Settings, inputs: Inputs, fingerprints: Mapping[str, str], folder: Path, train: Train,
                   reporter: Reporter, *, stop: Stop, **how: Any) -> dict[str, Path]:
    """Stage A.  name -> model folder of every teacher; those that are finished are left as they are.

    fingerprints: those of the inputs.  Raises UserError where a finished teacher was trained on or for something else.
    """
    chosen, teachers = teacher_settings(settings), {}
    for seed in range(1, settings["advpicker.teachers"] + 1):
        name = f"seed-{seed}"
        out = folder / "teachers" / name
        if is_finished(out):
            check_same(out, chosen, inputs, seed)
            check_unchanged(out, fingerprints)
        else:
            stop_here(stop)
            reporter.message(f"teacher {seed} of {settings['advpicker.teachers']}")
            train(chosen, inputs, out, seed=seed, reporter=reporter, resume=(out / "config.toml").is_file(), stop=stop, **how)
        teachers[name] = out / "model"
    return teachers


def existing_teachers(settings: Settings) -> dict[str, Path]:
    """name -> model folder of the teachers of advpicker.teachers_from; none where it is not set.

    Raises UserError for one that is not there or not finished.
    """
    if settings["method"] != "advpicker" or not settings["advpicker.teachers_from"]:
        return {}
    count, teachers = settings["advpicker.teachers"], {}
    for seed in range(1, count + 1):
        out = Path(settings["advpicker.teachers_from"]) / "teachers" / f"seed-{seed}"
        if not is_finished(out):
            begun = (out / "config.toml").is_file()
            found, cure = ("an unfinished one", "finish that run with --resume") if begun else \
                          ("none", f"name the folder that holds teachers/, or lower advpicker.teachers={count}")
            raise UserError(f"advpicker.teachers_from: expected a finished teacher in {out}, found {found}; {cure}")
        teachers[out.name] = out / "model"
    return teachers


def check_teachers(settings: Settings, inputs: Inputs, labels: list[str], fingerprints: Mapping[str, str]) -> None:
    """Raises UserError where a teacher of advpicker.teachers_from does not fit this run's task, labels or encoder.

    The encoder's vocabulary: a teacher is given the pieces of this run's tokenizer.
    """
    for folder in existing_teachers(settings).values():
        info, encoder = read_info(folder), str(inputs.encoder)
        for what, expected, found, same in (
                ("task", settings["task"], info.task, info.task == settings["task"]),
                ("labels", ", ".join(labels), ", ".join(info.labels), info.labels == labels),
                ("encoder", encoder, "another", began_with(folder.parent, fingerprints[key(Path(encoder))]))):
            if not same:
                raise UserError(f"advpicker.teachers_from: {folder.parent}: expected a teacher with the {what} {expected}, found "
                                f"{found}; give the --source and --encoder of that run, or train new teachers without this setting")


def make_teachers(settings: Settings, inputs: Inputs, fingerprints: Mapping[str, str], folder: Path, train: Train,
                  reporter: Reporter, *, stop: Stop, **how: Any) -> dict[str, Teacher]:
    """Stage A: the teachers of advpicker.teachers_from, or new ones in `folder`.  From here on they must not change."""
    teachers = existing_teachers(settings) or train_teachers(settings, inputs, fingerprints, folder, train, reporter, stop=stop,
                                                             **how)
    return {name: Teacher(path, folder_digest(path)) for name, path in teachers.items()}


def common_labels(teachers: Mapping[str, Teacher]) -> list[str]:
    """The labels of all teachers, which must be the same in the same order."""
    (first, teacher), *others = teachers.items()
    labels = read_info(teacher.folder).labels
    for name, other in others:
        found = read_info(other.folder).labels
        if found != labels:
            raise UserError(f"{other.folder}: expected the labels of teacher {first} ({', '.join(labels)}), found those of teacher "
                            f"{name}: {', '.join(found)}; train the teachers on the same data")
    return labels
