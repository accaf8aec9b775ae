"""What settings make of a method: its variants and ablations are other methods, or the same with other settings."""
from __future__ import annotations

from pathlib import Path

from minixl.data.inputs import key
from minixl.settings import Settings


def teacher_settings(settings: Settings) -> Settings:
    """Stage A: the task's updates in turn with those of a discriminator on tokens."""
    level = settings["adversary.level"] if settings["adversary.level"] != "none" else "token"
    return settings.override(["method=language-adversarial", f"adversary.level={level}",
                              f"train.epochs={settings['advpicker.epochs']}", "train.max_steps=0"])


def resolved(settings: Settings) -> Settings:
    """The settings as a run has them: what is compared with a method is a method of its own.

    advpicker.variant "tladv" is a teacher alone, "ft" plain fine-tuning.  Method language-adversarial with adversary.level
    none is fine-tuning with the same settings.  advpicker.teachers_from holds wherever --resume is called.
    """
    if settings["advpicker.teachers_from"]:
        settings = settings.override([f"advpicker.teachers_from={key(Path(settings['advpicker.teachers_from']))}"])
    method, chosen = settings["method"], settings["advpicker.variant"]
    if method == "language-adversarial" and settings["adversary.level"] == "none":
        return settings.override(["method=finetune"])
    if method != "advpicker" or chosen not in ("ft", "tladv"):
        return settings.override(["advpicker.rho=1.0"]) if chosen == "all-data" else settings
    if chosen == "tladv":
        return teacher_settings(settings).override([f"train.max_steps={settings['train.max_steps']}"])
    return settings.override(["method=finetune", "adversary.level=none", "alignment.average_linkage=false",
                              f"train.epochs={settings['advpicker.epochs']}"])
