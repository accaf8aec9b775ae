"""The settings of a run: name, default, type, range, meaning.  A recipe (TOML) sets them, --set overrides them.

A line base = "finetune-ner", or the path of a .toml file, at the top of a recipe inherits the settings of another one.

Modules declare their settings beside the code that uses them, as a Section.  A Schema joins all sections
(minixl.methods.SCHEMA) and makes Settings:

    settings = SCHEMA.recipe("finetune-ner").override(["train.epochs=3"])
    settings["train.epochs"]
"""
from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from minixl.errors import UserError, nearest

TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "names separated by commas"}
NOTES = ("paper", "inputs", "versions")            # tables of a recipe or a config.toml that hold no settings
GIVEN_BY_OPTIONS = {"inputs": "name the files on the command line: --encoder, --source, --dev, --unlabelled, --test, --vectors",
                    "seed": "give it on the command line: --seed"}      # a recipe has neither, unless it is a config.toml: both


class Setting(NamedTuple):
    """One setting; its type is the type of the default."""

    default: Any
    help: str
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    or_else: float | None = None       # also allowed, although outside at_least ... at_most
    compared: bool = True              # False: it changes no result, so reports ignore it when they group runs


def always(settings: Mapping[str, Any]) -> bool:
    """Every run uses the section."""
    return True


@dataclass(frozen=True)
class Section:
    """Settings that belong together, declared beside the code that uses them."""

    title: str
    settings: Mapping[str, Setting]                                  # by dotted name
    used: Callable[[Mapping[str, Any]], bool] = always               # does a run with these settings use the section?


class Schema(Mapping[str, Setting]):
    """All settings that exist, by dotted name.

    renamed: name in an older version -> what to write instead; using the old name is an error that says so.
    upgrade: rewrites the settings of a run of an older version under today's names, for reports.
    """

    def __init__(self, sections: Iterable[Section], renamed: Mapping[str, str] | None = None,
                 upgrade: Callable[[Mapping[str, Any]], dict[str, Any]] = dict) -> None:
        self.sections, self.renamed, self.upgrade = tuple(sections), dict(renamed or {}), upgrade
        self._settings: dict[str, Setting] = {}
        for section in self.sections:
            twice = self._settings.keys() & section.settings.keys()
            if twice:
                raise ValueError(f"{min(twice)}: declared by two sections, the second is {section.title!r}")
            self._settings.update(section.settings)

    def __getitem__(self, name: str) -> Setting:
        return self._settings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def settings(self, values: Mapping[str, Any] | None = None, where: str = "settings") -> Settings:
        """Return the defaults with some values changed.  where: begins every error message."""
        return Settings(self, values or {}, where)

    def recipe(self, name: str | Path) -> Settings:
        """Return the settings of a shipped recipe, by name, or of a .toml file or a run folder, by path."""
        path = recipe_path(name, Path(), f"recipe {str(name)!r}")
        return self.settings(self._with_base(path, ()), str(path))

    def _with_base(self, path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
        """Return the settings of a recipe and of those that it inherits from.  below: the recipes that inherit from it."""
        tables = read_toml(path)
        if is_config(tables):
            del tables["seed"], tables["inputs"]
        for name in sorted(tables.keys() & GIVEN_BY_OPTIONS.keys()):
            raise UserError(f"{path}: {name}: a recipe holds only settings; {GIVEN_BY_OPTIONS[name]}")
        base = tables.pop("base", None)
        inherited: dict[str, Any] = {}
        if base is not None:
            where = f"{path}: base = {json.dumps(base, ensure_ascii=False, default=str)}"
            if not isinstance(base, str):
                raise UserError(f"{where}: expected the name of a shipped recipe or the path of a .toml file")
            above, chain = recipe_path(base, path.parent, where), (*below, path)
            if above.resolve() in [one.resolve() for one in chain]:
                circle = " -> ".join(one.name for one in (*chain, above))
                raise UserError(f"{where}: expected no circle, found {circle}; remove one of these base lines")
            if not above.is_file():
                raise UserError(f"{where}: there is no file {above}; a path is relative to the recipe that names it")
            inherited = self._with_base(above, chain)
        return inherited | {key: self.check(key, value, str(path)) for key, value in flatten(tables).items()}

    def check(self, name: str, value: Any, where: str) -> Any:
        """Return the value in the setting's type.  Raises UserError for an unknown setting or a value that it does not accept."""
        if name in self.renamed:
            raise UserError(f"{where}: {name} has a new name: {self.renamed[name]}")
        if name not in self:
            raise UserError(f"{where}: there is no setting {name!r}{nearest(name, self)}")
        setting = self[name]
        kind = type(setting.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if kind is list and isinstance(value, str):
            value = [part for part in value.split(",") if part]
        if type(value) is not kind or (kind is list and not all(isinstance(part, str) for part in value)):
            expected = f"one of {', '.join(setting.choices)}" if setting.choices else TYPES[kind]
            raise UserError(f"{where}: {name}: expected {expected}, got {value!r} ({setting.help})")
        if setting.choices and value not in setting.choices:
            raise UserError(f"{where}: {name}: expected one of {', '.join(setting.choices)}, got {value!r}"
                            f"{nearest(value, setting.choices)}")
        problem = "a finite number" if kind is float and not isfinite(value) else _out_of_range(setting, value)
        if problem:
            raise UserError(f"{where}: {name}: expected {problem}, got {value!r} ({setting.help})")
        return value


class Settings(Mapping[str, Any]):
    """A value for every setting of a schema, by dotted name; immutable."""

    def __init__(self, schema: Schema, values: Mapping[str, Any], where: str = "settings") -> None:
        self.schema = schema
        self._values = {name: setting.default for name, setting in schema.items()}
        for name, value in values.items():
            self._values[name] = schema.check(name, value, where)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def override(self, assignments: Iterable[str]) -> Settings:
        """Return a copy with `section.key=value` assignments applied; values are read as TOML, or else as strings."""
        values = dict(self._values)
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise UserError(f"--set {assignment}: expected section.key=value, for example train.epochs=3")
            values[name.strip()] = self.schema.check(name.strip(), _parse(text.strip()), "--set")
        return Settings(self.schema, values)

    def changed(self) -> dict[str, Any]:
        """Return the values that differ from their default."""
        return {name: value for name, value in self.items() if value != self.schema[name].default}

    def to_toml(self, *, changed_only: bool = False) -> str:
        """Return TOML text, one table for each prefix; changed_only: without the settings that have their default."""
        lines, table = [], ""
        for name in sorted(self.changed() if changed_only else self, key=lambda name: ("." in name, name)):
            prefix, _, key = name.rpartition(".")
            if prefix != table:
                lines.append(f"\n[{prefix}]")
                table = prefix
            lines.append(f"{key} = {json.dumps(self._values[name], ensure_ascii=False)}")
        return "\n".join(lines) + "\n"


def shipped_recipes() -> dict[str, Path]:
    """Return name -> file of the recipes that come with minixl."""
    folder = resources.files("minixl.recipes")
    files = sorted((Path(str(entry)) for entry in folder.iterdir()), key=lambda path: path.stem)
    return {path.stem: path for path in files if path.suffix == ".toml"}


def recipe_titles() -> dict[str, str]:
    """Return name -> the first line, a comment, of every shipped recipe."""
    return {name: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
            for name, path in shipped_recipes().items()}


def recipe_path(name: str | Path, folder: Path, where: str) -> Path:
    """Return the file of a recipe: a shipped one, or a .toml file or run folder relative to `folder`.  where: begins the error."""
    shipped, path = shipped_recipes(), folder / name
    if str(name) in shipped:
        return shipped[str(name)]
    if path.suffix == ".toml":
        return path
    if path.is_dir():
        configs = [path / "config.toml", *sorted(path.glob("seed-*/config.toml"))]
        config = next((file for file in configs if file.is_file()), None)
        if config is None:
            raise UserError(f"{where}: expected a run folder with config.toml, found a folder without; name a recipe or a run")
        return config
    if path.is_file():
        raise UserError(f"{where}: expected a recipe, found another file; name a recipe first, and a file of text with "
                        f"--source LANGUAGE={name}")
    if "=" in str(name):
        raise UserError(f"{where}: expected a recipe first; name a file of text with --source {name}")
    if len(path.parts) > len(folder.parts) + 1:
        raise UserError(f"{where}: expected a recipe, a .toml file or the folder of a run, found no such file or folder")
    raise UserError(f"{where}: expected a .toml file or one of {', '.join(shipped)}{nearest(str(name), shipped)}")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a recipe or a config.toml.  Raises UserError for a file that cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))     # an editor may have put a byte order mark first
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML file: {error}") from None


def is_config(tables: Mapping[str, Any]) -> bool:
    """Whether these are the tables of a run's config.toml, which has a seed and inputs beside its settings."""
    return "seed" in tables and isinstance(tables.get("inputs"), Mapping)


def flatten(tables: Mapping[str, Any]) -> dict[str, Any]:
    """{"train": {"epochs": 3}} -> {"train.epochs": 3}, without the tables of NOTES."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            if key not in NOTES:
                flat.update({f"{key}.{name}": inner for name, inner in flatten(value).items()})
        else:
            flat[key] = value
    return flat


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _out_of_range(setting: Setting, value: Any) -> str | None:
    """Return what the setting expects instead of this value; None if it is in range."""
    limits = ((setting.at_least, lambda limit: value >= limit, "at least {:g}"),
              (setting.above, lambda limit: value > limit, "more than {:g}"),
              (setting.at_most, lambda limit: value <= limit, "at most {:g}"),
              (setting.below, lambda limit: value < limit, "less than {:g}"))
    broken = [text.format(limit) for limit, holds, text in limits if limit is not None and not holds(limit)]
    if not broken or value == setting.or_else:
        return None
    return broken[0] if setting.or_else is None else f"{setting.or_else:g}, or {setting.at_least:g} to {setting.at_most:g}"
