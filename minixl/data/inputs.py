"""The files of a run, as they are named on the command line and in config.toml."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minixl.files import digest, folder_digest
from minixl.errors import UserError

Named = list[tuple[str, Path]]         # (language, file), in the order given
ROLES = ("source", "dev", "unlabelled", "test", "vectors")


@dataclass
class Inputs:
    """The files of a run."""

    encoder: Path | None                # a Hugging Face folder; a word-level model has none
    source: Named
    dev: Named = field(default_factory=list)
    unlabelled: Named = field(default_factory=list)
    test: Named = field(default_factory=list)
    vectors: Named = field(default_factory=list)

    def to_toml(self) -> str:
        """The [inputs] table, with paths that hold wherever --resume is called."""
        lines = ["[inputs]"]
        if self.encoder is not None:
            lines.append(f"encoder = {json.dumps(key(self.encoder), ensure_ascii=False)}")
        for role in ROLES:
            pairs = [f"{language}={key(path)}" for language, path in getattr(self, role)]
            lines.append(f"{role} = {json.dumps(pairs, ensure_ascii=False)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Inputs:
        """The opposite of to_toml."""
        roles = {role: [parse_named(pair, f"--{role}") for pair in table.get(role, [])] for role in ROLES}
        return cls(Path(table["encoder"]) if "encoder" in table else None, **roles)

    def check(self) -> None:
        """Raises UserError for a run without labelled text, a language given twice, and a path that cannot be written down."""
        if not self.source:
            raise UserError("--source: expected at least one labelled file, for example --source en=train.txt")
        _check_alike([(role, language) for role in ROLES for language, _ in getattr(self, role)])
        for role in ROLES:
            once(f"--{role} ", [language for language, _ in getattr(self, role)])
            for language, path in getattr(self, role):
                _check_writable(f"--{role} {language}=", path)
        if self.encoder is not None:
            _check_writable("--encoder ", self.encoder)

    def fingerprints(self) -> dict[str, str]:
        """key(path) -> digest of every text file and of the encoder, so that a resumed run is known to see the same."""
        encoder = {} if self.encoder is None else {key(self.encoder): folder_digest(self.encoder)}
        return encoder | {key(path): digest(path) for role in ROLES for _, path in getattr(self, role)}


def key(path: Path) -> str:
    """How a file is called in config.toml and inputs.json, wherever the command was called."""
    return str(path.absolute())


def _check_writable(option: str, path: Path) -> None:
    try:
        key(path).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{option}{ascii(str(path))}: expected a name in UTF-8, as config.toml holds it; rename the file") from None


def parse_named(text: str, option: str) -> tuple[str, Path]:
    """'es=path' -> ("es", Path("path"))."""
    language, equals, path = text.partition("=")
    if not equals or not language or not path or "/" in language:
        raise UserError(f"{option} {text}: expected LANGUAGE=FILE, for example es=data/es.txt")
    if not re.fullmatch(r"[\w-]+", language):
        raise UserError(f"{option} {text}: expected a language name of letters, digits, - and _ before the =, found {language!r}")
    return language, Path(path)


def _check_alike(named: list[tuple[str, str]]) -> None:
    """Raises UserError for a language that is written in two ways; named: (role, language)."""
    seen: dict[str, tuple[str, str]] = {}
    for role, language in named:
        before, other = seen.setdefault(language.lower(), (role, language))
        if other != language:
            raise UserError(f"--{role} {language}=...: expected {other}, as --{before} has it, found {language}; the case counts")


def once(what: str, languages: list[str]) -> None:
    """Raises UserError for a language that is given twice."""
    twice = next((language for language in languages if languages.count(language) > 1), None)
    if twice:
        raise UserError(f"{what}{twice}=...: given twice; one file a language")
