"""Group runs that differ only in their seed, and name the groups."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from minixl.report.differences import differing_inputs, differing_settings
from minixl.report.folders import RunFolder
from minixl.settings import Schema
from minixl.training.config import CONFIG

Group = tuple[str, list[RunFolder]]                # name; runs that differ in their seed


def group(runs: Iterable[RunFolder], schema: Schema) -> tuple[list[Group], list[str]]:
    """Group the runs that differ only in their seed, under the name of the first one's folder (or of the folder of its seeds).

    Skips a run that is given twice or equals an earlier one; returns a warning for each of these.
    """
    groups: list[list[RunFolder]] = []
    warnings: list[str] = []
    folders: set[Path] = set()
    for run in runs:
        if run.folder.resolve() in folders:
            warnings.append(f"{run.folder}: given twice; counted once")
            continue
        folders.add(run.folder.resolve())
        mates = next((members for members in groups if _alike(members[0], run, schema)), None)
        if mates is None:
            groups.append([run])
        elif run.seed in [mate.seed for mate in mates]:
            equal = next(mate.folder for mate in mates if mate.seed == run.seed)
            warnings.append(f"{run.folder}: skipped, since it has the same settings, inputs and seed as {equal}")
        else:
            mates.append(run)
    paths = [(m[0].folder.parent if len(m) > 1 and _is_seed(m[0].folder.resolve()) else m[0].folder).resolve() for m in groups]
    return [(f"{name} ({len(members)} seeds)" if len(members) > 1 else name, members)
            for name, members in zip(_names(paths), groups, strict=True)], warnings


def _is_seed(folder: Path) -> bool:
    return folder.name.startswith("seed-")


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the ends of the paths, with as many folders as tell them apart."""
    lengths = [len(_short_name(folder)) for folder in folders]
    while True:
        names = ["/".join(folder.parts[-length:]) for folder, length in zip(folders, lengths, strict=True)]
        longer = [length + (names.count(name) > 1 and length < len(folder.parts) - 1)
                  for folder, name, length in zip(folders, names, lengths, strict=True)]
        if longer == lengths:
            return names
        lengths = longer


def _short_name(folder: Path) -> tuple[str, ...]:
    """Return the end of the path: without the folders of seeds and of stages alone, whose names other runs use too."""
    parts = folder.parts
    first = len(parts) - 1
    while first > 1 and (_is_seed(Path(parts[first])) or (Path(*parts[:first]) / CONFIG).is_file()):
        first -= 1
    return parts[first:]


def _alike(one: RunFolder, other: RunFolder, schema: Schema) -> bool:
    ignored = {name for name, setting in schema.items() if not setting.compared}
    return (one.sources == other.sources and not differing_inputs([one, other])
            and not differing_settings([one, other]) - ignored)
