"""What differs between runs: their settings, and their input files by content."""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from minixl.data.inputs import ROLES, by_language, path_key
from minixl.report.folders import RunFolder

TEST_LIMIT = "data.test_limit"


class Input(NamedTuple):
    """The files of a language or the encoder's folder, and the digests of their contents when the run began, "" if unknown."""

    paths: list[Path]
    digests: list[str]

    def same_as(self, other: Input) -> bool:
        """Compare the contents, or the paths if a digest is unknown."""
        if all(self.digests + other.digests):
            return self.digests == other.digests
        return self.named(path_key) == other.named(path_key)

    def named(self, name_of: Callable[[Path], str]) -> str:
        """Return the names of the files."""
        return " + ".join(map(name_of, self.paths))


def input_files(run: RunFolder) -> dict[str, Input]:
    """Return "encoder", "source en", "test es", ... -> the files."""
    paths = {f"{role} {language}": paths for role in ROLES for language, paths in by_language(getattr(run.inputs, role)).items()}
    if run.inputs.encoder is not None:
        paths = {"encoder": [run.inputs.encoder], **paths}
    return {name: Input(of_name, [run.digests.get(path_key(path), "") for path in of_name]) for name, of_name in paths.items()}


def differing_settings(runs: Sequence[RunFolder]) -> set[str]:
    """Return the settings that are not the same in all runs; a run of another version may lack some."""
    first = runs[0].settings
    return {name for run in runs for name in {*first, *run.settings} if run.settings.get(name) != first.get(name)}


def differing_inputs(runs: Sequence[RunFolder]) -> list[str]:
    """Return the inputs that are not the same in all runs, named as by input_files."""
    files = [input_files(run) for run in runs]
    names = dict.fromkeys(name for of_run in files for name in of_run)
    return [name for name in names if not all(_same(of_run.get(name), files[0].get(name)) for of_run in files)]


def _same(one: Input | None, other: Input | None) -> bool:
    return one is other if one is None or other is None else one.same_as(other)


def difference_rows(runs: Sequence[RunFolder]) -> list[list[str | None]]:
    """Return a row for every input and setting that differs: its name, and its value in every run, None for none."""
    files = [input_files(run) for run in runs]
    rows: list[list[str | None]] = [[name, *short_names([of_run.get(name) for of_run in files])] for name in differing_inputs(runs)]
    if not rows and len({tuple(run.sources) for run in runs}) > 1:
        rows.append(["order of --source", *(", ".join(run.sources) for run in runs)])
    return rows + [[name, *(json.dumps(run.settings[name], ensure_ascii=False, default=str) if name in run.settings else None
                            for run in runs)] for name in sorted(differing_settings(runs))]


def short_names(files: Sequence[Input | None]) -> list[str | None]:
    """Name files of different content differently: by their names, else by their paths, with the digest if these agree too."""
    present = [file for file in files if file]
    for name_of in (lambda path: path.name, path_key):
        if all(one.same_as(other) for one in present for other in present if one.named(name_of) == other.named(name_of)):
            return [file and file.named(name_of) for file in files]
    return [file and f"{file.named(path_key)} (sha256 {' + '.join(digest[:12] for digest in file.digests)})" for file in files]
