"""The input files of a run, as given on the command line and in config.toml."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minixl.errors import UserError
from minixl.files import digest, folder_digest

LanguageFiles = list[tuple[str, Path]]         # (language, file), in the order given
ROLES = ("source", "dev", "unlabelled", "test", "vectors")


@dataclass
class Inputs:
    """The input files of a run."""

    encoder: Path | None                # a Hugging Face folder; None for a word-level model
    source: LanguageFiles
    dev: LanguageFiles = field(default_factory=list)
    unlabelled: LanguageFiles = field(default_factory=list)
    test: LanguageFiles = field(default_factory=list)
    vectors: LanguageFiles = field(default_factory=list)

    def to_toml(self) -> str:
        """Write the [inputs] table, with absolute paths so that --resume works from any folder."""
        lines = ["[inputs]"]
        if self.encoder is not None:
            lines.append(f"encoder = {json.dumps(path_key(self.encoder), ensure_ascii=False)}")
        for role in ROLES:
            pairs = [f"{language}={path_key(path)}" for language, path in getattr(self, role)]
            lines.append(f"{role} = {json.dumps(pairs, ensure_ascii=False)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Inputs:
        """Read what to_toml wrote."""
        roles = {role: [parse_language_file(pair, f"--{role}") for pair in table.get(role, [])] for role in ROLES}
        return cls(Path(table["encoder"]) if "encoder" in table else None, **roles)

    def check(self, *, labelled: bool = True) -> None:
        """Raises UserError for a run without labelled text, a file given twice, and a path that config.toml cannot hold.

        labelled: whether the run needs labelled text.
        """
        if labelled and not self.source:
            raise UserError("--source: expected at least one labelled file, for example --source en=train.txt")
        _check_spelling([(role, language) for role in ROLES for language, _ in getattr(self, role)])
        for role in ROLES:
            check_given_once(f"--{role} ", getattr(self, role))
            for language, path in getattr(self, role):
                _check_storable(f"--{role} {language}=", path)
        if self.encoder is not None:
            _check_storable("--encoder ", self.encoder)

    def fingerprints(self) -> dict[str, str]:
        """Return path_key(path) -> digest of each text file and of the encoder, to check that a resumed run sees the same."""
        encoder = {} if self.encoder is None else {path_key(self.encoder): folder_digest(self.encoder)}
        return encoder | self.text_fingerprints()

    def text_fingerprints(self) -> dict[str, str]:
        """Return path_key(path) -> digest of each text file."""
        return {path_key(path): digest(path) for path in self.text_files()}

    def text_files(self) -> list[Path]:
        """Return the files of all roles."""
        return [path for role in ROLES for _, path in getattr(self, role)]


def path_key(path: Path) -> str:
    """Return the name of a file in config.toml and inputs.json, whatever the current folder."""
    return str(path.absolute())


def _check_storable(option: str, path: Path) -> None:
    try:
        path_key(path).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{option}{ascii(str(path))}: expected a path in UTF-8, as config.toml requires; rename the file") from None


def parse_language_file(text: str, option: str) -> tuple[str, Path]:
    """Parse 'es=path' into ("es", Path("path"))."""
    language, equals, path = text.partition("=")
    if not equals or not language or not path or "/" in language:
        raise UserError(f"{option} {text}: expected LANGUAGE=FILE, for example es=data/es.txt")
    if not re.fullmatch(r"[\w-]+", language):
        raise UserError(f"{option} {text}: expected a language name of letters, digits, - and _ before the =, found {language!r}")
    return language, Path(path)


def _check_spelling(named: list[tuple[str, str]]) -> None:
    """Raises UserError for a language that is spelled in two ways.  named: (role, language)."""
    seen: dict[str, tuple[str, str]] = {}
    for role, language in named:
        before, other = seen.setdefault(language.lower(), (role, language))
        if other != language:
            raise UserError(f"--{role} {language}=...: expected {other} as in --{before}, found {language}; "
                            "language names are case-sensitive")


def by_language(pairs: LanguageFiles) -> dict[str, list[Path]]:
    """Return the files of every language; both stay in their order."""
    files: dict[str, list[Path]] = {}
    for language, path in pairs:
        files.setdefault(language, []).append(path)
    return files


def check_given_once(option: str, pairs: LanguageFiles) -> None:
    """Raises UserError for a file that is given twice for a language, and for two files of word vectors for one.

    option: the start of the message.
    """
    for language, paths in by_language(pairs).items():
        if len(paths) > 1 and option == "--vectors ":
            raise UserError(f"{option}{language}=...: given twice; expected one file per language")
        real = [path.resolve() for path in paths]
        twice = next((path for i, path in enumerate(paths) if real[i] in real[:i]), None)
        if twice:
            raise UserError(f"{option}{language}={twice}: given twice; each of its texts would count double")
