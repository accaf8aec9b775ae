"""Every setting of a run: name, default, type, meaning.  A recipe (TOML) sets them, --set overrides them.

    settings = load_recipe("finetune-ner").override(["train.epochs=3"])
    settings["train.epochs"]
"""
from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from minixl.errors import UserError, nearest


KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "names with commas between them"}


class Setting(NamedTuple):
    """One setting; its type is that of the default."""

    default: Any
    help: str
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    or_else: float | None = None       # taken as well, although it lies out of at_least ... at_most


SETTINGS: dict[str, Setting] = {
    "method": Setting("finetune", "the method, a file of minixl/methods"),
    "task": Setting("ner", "what is learnt", ("ner", "pos", "classification")),
    "data.max_length": Setting(128, "longest input in word pieces, [CLS] and [SEP] included", at_least=8),
    "data.on_long": Setting("window", "what happens to a longer input", ("window", "truncate", "error")),
    "data.limit": Setting(0, "train on the first N sentences of each source file only; 0: on all", at_least=0),
    "data.test_limit": Setting(0, "score the first N inputs of every dev and test file only; 0: all", at_least=0),
    "data.unlabelled_limit": Setting(0, "use the first N sentences of every --unlabelled file only; 0: all", at_least=0),
    "data.min_count": Setting(2, "fewest documents of a class; fewer is an error, most often a mistyped label", at_least=1),
    "data.scheme": Setting("auto", "how entity tags are written", ("auto", "IOB1", "IOB2", "IOBES", "BIOUL")),
    "data.encoding": Setting("utf-8", "character encoding of the files"),
    "model.type": Setting("transformer", "family of models", ("transformer", "bilstm-crf")),
    "model.scheme": Setting("auto", "tag scheme that the model works in; auto: IOB2, for bilstm-crf IOBES",
                            ("auto", "IOB2", "IOBES")),
    "model.pooling": Setting("auto", "head of a classifier", ("auto", "token", "mean", "cls")),
    "model.freeze": Setting([], "parameters that are not trained: shell patterns over their names, or a number of layers "
                                "as 'bottom:3' (with the embeddings)"),
    "model.dropout": Setting(-1.0, "dropout of the encoder and the head; -1: as config.json says, 0.5 for bilstm-crf",
                             at_least=0, at_most=0.99, or_else=-1),
    "model.keep_frozen": Setting(False, "compute the frozen bottom layers once for every sentence, without dropout, and keep them"),
    "model.keep_frozen_mb": Setting(2048, "memory for what model.keep_frozen keeps, in MiB; beyond it lies on disk", at_least=1),
    "model.word_size": Setting(100, "bilstm-crf: size of random word embeddings; with --vectors theirs", at_least=1),
    "model.word_hidden": Setting(100, "bilstm-crf: states of the word LSTM, each direction", at_least=1),
    "model.dense_size": Setting(100, "bilstm-crf: size of the tanh layer before the tags", at_least=1),
    "model.chars": Setting(True, "bilstm-crf: read the characters of every word"),
    "model.char_size": Setting(25, "bilstm-crf: size of character embeddings", at_least=1),
    "model.char_hidden": Setting(25, "bilstm-crf: states of the character LSTM, each direction", at_least=1),
    "model.tied": Setting(False, "bilstm-crf: one cell reads both directions"),
    "model.start_end": Setting(False, "bilstm-crf: scores for the first and the last tag of a sentence"),
    "model.variational": Setting(False, "bilstm-crf: one dropout mask for all words of a sentence"),
    "model.train_vectors": Setting(False, "bilstm-crf: train the vectors of --vectors as well; random ones always are"),
    "model.constrained_training": Setting(False, "bilstm-crf: the CRF sums over tag sequences the scheme allows only"),
    "model.vectors_top": Setting(200000, "bilstm-crf: read the first N words of a --vectors file only; 0: all", at_least=0),
    "train.epochs": Setting(3, "passes over the source sentences; AdvPicker's student: over the pseudo-labelled ones",
                            at_least=0),
    "train.max_steps": Setting(0, "at most N steps; exactly N with train.epochs=0; 0: no limit. AdvPicker: the student's. A step "
                               "is an update for the task with those that the method adds to it", at_least=0),
    "train.batch_size": Setting(32, "sentences an update", at_least=1),
    "train.accumulate": Setting(1, "split a batch into N parts whose gradients are added up, to save memory; not that of "
                                "alignment.average_linkage, which compares all pairs of a batch", at_least=1),
    "train.eval_every": Setting(0, "evaluate every N steps; 0: after every epoch", at_least=0),
    "train.score_tests": Setting(False, "score the test files at every evaluation as well, for curves"),
    "train.patience": Setting(0, "stop after N evaluations in which train.stop_on made no progress; 0: never", at_least=0),
    "train.stop_on": Setting("source-dev", "what train.patience watches: the mean score of the source or (with their labels: an "
                             "oracle) of the target dev files; the task's mean loss, or how far the discriminator's accuracy is "
                             "from 1/2, since the last evaluation. The source dev files select the model in any case",
                             ("source-dev", "target-dev", "loss", "discriminator")),
    "train.max_minutes": Setting(0.0, "end after N minutes of training, evaluations not counted, those before --resume counted; "
                                      "0: no limit. Such a run ends at another step each time", at_least=0),
    "train.checkpoint_every": Setting(0, "write a checkpoint every N steps; 0: at every evaluation", at_least=0),
    "optim.name": Setting("adamw", "optimiser", ("adamw", "adam", "sgd")),
    "optim.lr": Setting(5e-5, "learning rate of the encoder", at_least=0),
    "optim.head_lr": Setting(0.0, "learning rate of the head; 0: optim.lr", at_least=0),
    "optim.schedule": Setting("linear", "learning rate after the warm-up", ("linear", "constant", "inverse")),
    "optim.decay": Setting(0.01, "schedule inverse: a learning rate is divided by 1 + decay * epoch, the first epoch being 0",
                           at_least=0),
    "optim.floor": Setting(0.0, "schedule inverse: no learning rate falls below this; one that is lower anyway stays", at_least=0),
    "optim.warmup": Setting(0.1, "share of all steps, rounded to whole ones, in which the learning rate rises from 0",
                            at_least=0, below=1),
    "optim.weight_decay": Setting(0.01, "decoupled weight decay of adamw, not on LayerNorm and biases", at_least=0),
    "optim.beta1": Setting(0.9, "Adam's decay of the first moment", at_least=0, below=1),
    "optim.beta2": Setting(0.999, "Adam's decay of the second moment", at_least=0, below=1),
    "optim.eps": Setting(1e-8, "Adam's epsilon", at_least=0),
    "optim.clip": Setting(1.0, "limit on the norm of all gradients together; 0: none", at_least=0),
    "adversary.level": Setting("none", "language discriminator: on the mean of a sentence (Keung et al. 2019) or on every "
                                       "token (Chen et al. 2021)", ("none", "sentence", "token")),
    "adversary.lr": Setting(6e-7, "learning rate of the encoder against the discriminator", at_least=0),
    "adversary.discriminator_lr": Setting(5e-3, "learning rate of the discriminator", at_least=0),
    "adversary.size": Setting(500, "hidden units of the discriminator on tokens", at_least=1),
    "adversary.specials": Setting(True, "the discriminator reads [CLS] and [SEP] as well"),
    "adversary.order": Setting("discriminator-first", "which of the two comes first", ("discriminator-first", "generator-first")),
    "adversary.weight_decay": Setting(0.0, "decoupled weight decay of the encoder in the generator's update", at_least=0),
    "adversary.target_size": Setting("all", "target sentences that are compared with source text: all, or as many as there are "
                                            "source sentences, drawn by the seed, an equal share of each language",
                                     ("all", "source")),
    "adversary.every": Setting(1, "discriminator and generator move every N iterations", at_least=1),
    "alignment.average_linkage": Setting(False, "draw the states of two languages together, with updates of their own: average "
                                                "linkage, or energy distance"),
    "alignment.level": Setting("sentence", "which states are drawn together", ("sentence", "token")),
    "alignment.lr": Setting(1e-6, "learning rate of these updates, their strength", at_least=0),
    "advpicker.teachers": Setting(5, "teachers that are trained, each with a seed of its own", at_least=1),
    "advpicker.teachers_from": Setting("", "folder of another advpicker run whose teachers are used; none are trained"),
    "advpicker.rho": Setting(0.8, "share of the unlabelled sentences that the student learns from", above=0, at_most=1),
    "advpicker.merge": Setting("max_probability", "how the teacher of a sentence is chosen", ("max_probability", "max_logit")),
    "advpicker.epochs": Setting(10, "passes of a teacher over the source sentences", at_least=1),
    "advpicker.variant": Setting("full", "the method, or one of its ablations: every sentence is selected; the teachers tag the "
                                         "test files themselves; a teacher alone; fine-tuning alone",
                                 ("full", "all-data", "without-kd", "tladv", "ft")),
    "advpicker.study": Setting(False, "read the tags of the --unlabelled files for the report: how good are the pseudo-labels?"),
    "distill.temperature": Setting(1.0, "temperature of the student's and the teachers' probabilities", at_least=1e-3),
    "decode.constrained": Setting(True, "only tag sequences that the scheme allows (Viterbi)"),
}


class Settings(Mapping[str, Any]):
    """Resolved settings by dotted name; immutable."""

    def __init__(self, given: Mapping[str, Any], where: str = "settings") -> None:
        self._values = {name: setting.default for name, setting in SETTINGS.items()}
        for name, value in given.items():
            self._values[name] = _checked(name, value, where)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def override(self, assignments: Iterable[str]) -> Settings:
        """A copy with `section.key=value` assignments applied; a value is read as TOML, or else as a string."""
        values = dict(self._values)
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise UserError(f"--set {assignment}: expected section.key=value, for example train.epochs=3")
            values[name.strip()] = _checked(name.strip(), _parse(text.strip()), "--set")
        return Settings(values)

    def to_toml(self) -> str:
        """TOML text, one section a prefix."""
        lines, section = [], ""
        for name in sorted(self._values, key=lambda name: ("." in name, name)):
            prefix, _, key = name.rpartition(".")
            if prefix != section:
                lines.append(f"\n[{prefix}]")
                section = prefix
            lines.append(f"{key} = {json.dumps(self._values[name], ensure_ascii=False)}")
        return "\n".join(lines) + "\n"


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with minixl."""
    folder = resources.files("minixl.recipes")
    return {Path(str(entry)).stem: Path(str(entry)) for entry in sorted(folder.iterdir(), key=str)
            if str(entry).endswith(".toml")}


def load_recipe(name: str) -> Settings:
    """A shipped recipe by name, or a .toml file by path."""
    shipped = shipped_recipes()
    path = Path(name) if name.endswith(".toml") else shipped.get(name)
    if path is None:
        raise UserError(f"recipe {name!r}: expected a .toml file or one of {', '.join(shipped)}{nearest(name, shipped)}")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML file: {error}") from None
    return Settings(flatten(tables), str(path))


def flatten(tables: Mapping[str, Any]) -> dict[str, Any]:
    """{"train": {"epochs": 3}} -> {"train.epochs": 3}; [paper] and [inputs] hold notes, not settings."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            if key not in ("paper", "inputs", "versions"):
                flat.update({f"{key}.{name}": inner for name, inner in flatten(value).items()})
        else:
            flat[key] = value
    return flat


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _checked(name: str, value: Any, where: str) -> Any:
    """The value in the setting's own type, or a UserError that names the setting, what it takes and what it got."""
    if name not in SETTINGS:
        raise UserError(f"{where}: there is no setting {name!r}{nearest(name, SETTINGS)}")
    setting = SETTINGS[name]
    kind = type(setting.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is list and isinstance(value, str):
        value = [part for part in value.split(",") if part]
    if type(value) is not kind or (kind is list and not all(isinstance(part, str) for part in value)):
        raise UserError(f"{where}: {name}: expected {KINDS[kind]}, got {value!r} ({setting.help})")
    if setting.choices and value not in setting.choices:
        raise UserError(f"{where}: {name}: expected one of {', '.join(setting.choices)}, got {value!r}"
                        f"{nearest(value, setting.choices)}")
    problem = "a finite number" if kind is float and not isfinite(value) else _beyond(setting, value)
    if problem:
        raise UserError(f"{where}: {name}: expected {problem}, got {value!r} ({setting.help})")
    return value


def _beyond(setting: Setting, value: Any) -> str | None:
    """What is expected in place of a value that lies beyond the setting's limits; None for one within them."""
    limits = ((setting.at_least, lambda limit: value >= limit, "at least {:g}"),
              (setting.above, lambda limit: value > limit, "more than {:g}"),
              (setting.at_most, lambda limit: value <= limit, "at most {:g}"),
              (setting.below, lambda limit: value < limit, "less than {:g}"))
    broken = [text.format(limit) for limit, holds, text in limits if limit is not None and not holds(limit)]
    if not broken or value == setting.or_else:
        return None
    return broken[0] if setting.or_else is None else f"{setting.or_else:g}, or {setting.at_least:g} to {setting.at_most:g}"
