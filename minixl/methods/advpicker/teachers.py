"""AdvPicker's teachers: train them, or use those of another run.  Stage A of algorithm.py."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from minixl.building import load_info
from minixl.data.inputs import Inputs, path_key
from minixl.errors import UserError
from minixl.files import folder_digest
from minixl.methods.language_adversarial import LanguageAdversarial
from minixl.run.folder import began_with, holds_run
from minixl.run.groups import on_groups
from minixl.run.method import Job, Term
from minixl.settings import Settings
from minixl.training.metrics import is_finished


class Teacher(NamedTuple):
    """A finished teacher."""

    folder: Path                       # of its model
    digest: str


class TeacherTraining(LanguageAdversarial):
    """Trains one teacher."""

    if_nothing_learned = "train the teachers longer (advpicker.epochs) or with a higher learning rate (optim.lr, optim.head_lr)"


def teacher_settings(settings: Settings) -> Settings:
    """Return the settings of a teacher: fine-tuning against a discriminator, on tokens unless adversary.level says otherwise."""
    level = settings["adversary.level"] if settings["adversary.level"] != "none" else "token"
    return settings.override([f"method={LanguageAdversarial.name}", f"adversary.level={level}",
                              f"train.epochs={settings['advpicker.epochs']}", "train.max_steps=0"])


def make_teachers(job: Job, terms: Sequence[type[Term]]) -> dict[str, Teacher]:
    """Return name -> teacher: those of advpicker.teachers_from, or new ones.  From here on they must not change."""
    folders = existing_teachers(job.settings)
    count = job.settings["advpicker.teachers"]

    def train(seed: int) -> Path:
        return job.train(TeacherTraining(terms), f"teachers/seed-{seed}", settings=teacher_settings(job.settings), seed=seed,
                         shared=True, title=f"teacher {seed} of {count}").model

    if not folders:
        seeds = range(1, count + 1)
        models = on_groups(job.settings["run.groups"], seeds, train)
        folders = {f"seed-{seed}": model for seed, model in zip(seeds, models, strict=True)}
    return {name: Teacher(folder, folder_digest(folder)) for name, folder in folders.items()}


def existing_teachers(settings: Settings) -> dict[str, Path]:
    """Return name -> model folder of the teachers of advpicker.teachers_from; empty if it is not set.

    Raises UserError for a teacher that is missing or unfinished.
    """
    if not settings["advpicker.teachers_from"]:
        return {}
    count, teachers = settings["advpicker.teachers"], {}
    for seed in range(1, count + 1):
        folder = Path(settings["advpicker.teachers_from"]) / "teachers" / f"seed-{seed}"
        if not is_finished(folder):
            problem, cure = ("an unfinished one", "finish that run with --resume") if holds_run(folder) else \
                            ("none", f"name the folder that holds teachers/, or lower advpicker.teachers={count}")
            raise UserError(f"advpicker.teachers_from: expected a finished teacher in {folder}, found {problem}; {cure}")
        teachers[folder.name] = folder / "model"
    return teachers


def check_teachers(settings: Settings, inputs: Inputs, labels: list[str], fingerprints: Mapping[str, str]) -> None:
    """Raises UserError if a teacher of advpicker.teachers_from does not fit this run's task, labels or encoder.

    The encoders must be the same because the teachers read text in the pieces of this run's tokenizer.
    """
    for folder in existing_teachers(settings).values():
        info, encoder = load_info(folder), str(inputs.encoder)
        for trait, expected, actual, fits in (
                ("task", settings["task"], info.task, info.task == settings["task"]),
                ("labels", ", ".join(labels), ", ".join(info.labels), info.labels == labels),
                ("encoder", encoder, "another", began_with(folder.parent, fingerprints[path_key(Path(encoder))]))):
            if not fits:
                raise UserError(f"advpicker.teachers_from: {folder.parent}: expected a teacher with the {trait} {expected}, "
                                f"found {actual}; give that run's --source and --encoder, or leave this setting out")


def common_labels(teachers: Mapping[str, Teacher]) -> list[str]:
    """Return the labels of all teachers.  Raises UserError unless they are the same, in the same order."""
    (first, teacher), *others = teachers.items()
    labels = load_info(teacher.folder).labels
    for name, other in others:
        of_other = load_info(other.folder).labels
        if of_other != labels:
            raise UserError(f"{other.folder}: expected the labels of teacher {first} ({', '.join(labels)}), found those of teacher "
                            f"{name}: {', '.join(of_other)}; train the teachers on the same data")
    return labels
