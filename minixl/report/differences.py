"""What differs between runs: their settings, and their input files by content."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minixl.data.inputs import ROLES, path_key
from minixl.report.folders import RunFolder

TEST_LIMIT = "data.test_limit"


class InputFile(NamedTuple):
    """An input file or the encoder's folder, and the digest of its content when the run began; "" if that is unknown."""

    path: Path
    digest: str

    def same_as(self, other: InputFile) -> bool:
        """Compare the contents, or the paths if a digest is unknown."""
        if self.digest and other.digest:
            return self.digest == other.digest
        return path_key(self.path) == path_key(other.path)


def input_files(run: RunFolder) -> dict[str, InputFile]:
    """Return "encoder", "source en", "test es", ... -> the file."""
    paths = {f"{role} {language}": path for role in ROLES for language, path in getattr(run.inputs, role)}
    if run.inputs.encoder is not None:
        paths = {"encoder": run.inputs.encoder, **paths}
    return {name: InputFile(path, run.digests.get(path_key(path), "")) for name, path in paths.items()}


def differing_settings(runs: Sequence[RunFolder]) -> set[str]:
    """Return the settings that are not the same in all runs; a run of another version may lack some."""
    first = runs[0].settings
    return {name for run in runs for name in {*first, *run.settings} if run.settings.get(name) != first.get(name)}


def differing_inputs(runs: Sequence[RunFolder]) -> list[str]:
    """Return the inputs that are not the same in all runs, named as by input_files."""
    files = [input_files(run) for run in runs]
    names = dict.fromkeys(name for of_run in files for name in of_run)
    return [name for name in names if not all(_same(of_run.get(name), files[0].get(name)) for of_run in files)]


def _same(one: InputFile | None, other: InputFile | None) -> bool:
    return one is other if one is None or other is None else one.same_as(other)


def difference_rows(runs: Sequence[RunFolder]) -> list[list[str | None]]:
    """Return a row for every input and setting that differs: its name, and its value in every run, None for none."""
    files = [input_files(run) for run in runs]
    rows: list[list[str | None]] = [[name, *short_names([of_run.get(name) for of_run in files])] for name in differing_inputs(runs)]
    if not rows and len({tuple(run.sources) for run in runs}) > 1:
        rows.append(["order of --source", *(", ".join(run.sources) for run in runs)])
    return rows + [[name, *(json.dumps(run.settings[name], ensure_ascii=False, default=str) if name in run.settings else None
                            for run in runs)] for name in sorted(differing_settings(runs))]


def short_names(files: Sequence[InputFile | None]) -> list[str | None]:
    """Name files of different content differently: by their names, else by their paths, with the digest if these agree too."""
    present = [file for file in files if file]
    for name_of in (lambda file: file.path.name, lambda file: path_key(file.path)):
        if all(one.same_as(other) for one in present for other in present if name_of(one) == name_of(other)):
            return [file and name_of(file) for file in files]
    return [file and f"{path_key(file.path)} (sha256 {file.digest[:12]})" for file in files]
