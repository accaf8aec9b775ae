"""The table of final scores of several groups of runs, with marks where its scores are not of the same test data."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minixl.data.limits import settings_of_text
from minixl.evaluation.scores import mean_sd
from minixl.report.differences import TEST_LIMIT, input_files, short_names
from minixl.report.folders import RunFolder
from minixl.report.grouping import Group
from minixl.report.scores import TARGET_MEAN, meanings, score_columns, with_target_mean

MARKS = "*†‡§¶"
NO_SCORES = ("language", "group", "mark")          # the entries of a row that are not scores

Row = dict[str, Any]


def final_scores(groups: Sequence[Group], figure: str) -> list[Row]:
    """Return a row for each language and group that is tested on it: mean, sd and number of the scores, or None, for every heading.

    The last rows are the mean over the target languages, if any run has several.

    mark: "" for scores on the same test data as those of the first group with this language; score_marks explains the others.
    """
    rows, headings, marks = [], meanings_of(groups), score_marks(groups)[0]
    tables = {name: [with_target_mean(run.metrics, figure, run.sources) for run in runs if run.metrics] for name, runs in groups}
    languages = dict.fromkeys(language for metrics in tables.values() for one in metrics for language in one["test"])
    for language in sorted(languages, key=lambda language: language == TARGET_MEAN):                   # stable
        for name in (name for name, runs in groups if any(_is_tested(run, language) for run in runs)):
            row: Row = {"language": language, "group": name, "mark": marks.get((language, name), "")}
            finished = [(metrics, score_columns(metrics)) for metrics in tables[name]]
            for heading in headings:
                scores = [metrics[columns[heading]].get(language) for metrics, columns in finished if heading in columns]
                row[heading] = _summary([score[figure] for score in scores if score])
            rows.append(row)
    return rows


def _is_tested(run: RunFolder, language: str) -> bool:
    """Whether the run has, or will have, a score on this language or of TARGET_MEAN."""
    return len(run.targets) > 1 if language == TARGET_MEAN else language in dict(run.inputs.test)


def score_marks(groups: Sequence[Group]) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Return (language, group) -> the mark of scores on other test data than the first group's, and notes on the marks."""
    runs = [(name, run) for name, members in groups for run in members]
    tested = [(name, run) for i, (name, run) in enumerate(runs) if name not in [earlier for earlier, _ in runs[:i]]]
    marks: dict[tuple[str, str], str] = {}
    notes: dict[tuple[str, str], list[str]] = {}                       # (mark, what differs) -> languages
    for language in dict.fromkeys(language for _, run in tested for language, _ in run.inputs.test):
        first, *others = _by_test_data([pair for pair in tested if language in dict(pair[1].inputs.test)], language)
        for i, members in enumerate(others):
            marks |= {(language, name): _mark(i) for name, _ in members}
            notes.setdefault((_mark(i), _difference(first, members, language)), []).append(language)
    mean_marks, mean_notes = _mean_marks(tested, marks)
    lines = [f"{mark} {', '.join(languages)}: {text}" for (mark, text), languages in notes.items()]
    return marks | mean_marks, lines + mean_notes


def _mean_marks(tested: Sequence[tuple[str, RunFolder]], marks: Mapping[tuple[str, str], str]
                ) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Mark means over other languages, or over scores with other marks, than the first group's mean."""
    averaged = {name: {language: marks.get((language, name), "") for language in run.targets} for name, run in tested
                if len(run.targets) > 1}
    kinds: list[dict[str, str]] = []
    for scores in averaged.values():
        kinds += [scores] if scores not in kinds else []
    mean_marks = {(TARGET_MEAN, name): _mark(kinds.index(scores) - 1) for name, scores in averaged.items() if scores != kinds[0]}
    notes = {}
    for (_, name), mark in mean_marks.items():
        if averaged[name].keys() == kinds[0].keys():
            text = "over scores that have a mark"
        else:
            text = f"over {', '.join(averaged[name])} in {name}, over {', '.join(kinds[0])} in {next(iter(averaged))}"
        notes[mark] = f"{mark} {TARGET_MEAN}: {text}"
    return mean_marks, list(notes.values())


def _mark(number: int) -> str:
    return MARKS[number] if number < len(MARKS) else f"[{number + 1}]"


def _by_test_data(runs: Sequence[tuple[str, RunFolder]], language: str) -> list[list[tuple[str, RunFolder]]]:
    """Put runs that were scored on the same test data of a language together."""
    same: list[list[tuple[str, RunFolder]]] = []
    for name, run in runs:
        members = next((members for members in same if _same_test_data(members[0][1], run, language)), None)
        if members is None:
            same.append([(name, run)])
        else:
            members.append((name, run))
    return same


def _same_test_data(one: RunFolder, other: RunFolder, language: str) -> bool:
    file, other_file = (input_files(run)[f"test {language}"] for run in (one, other))
    return file.same_as(other_file) and not _differing_settings(one, other)


def _difference(first: Sequence[tuple[str, RunFolder]], others: Sequence[tuple[str, RunFolder]], language: str) -> str:
    """Say how the test data of the others differ from those of the first run."""
    (name, run), other_run, other_names = first[0], others[0][1], ", ".join(other for other, _ in others)
    file, other_file = (input_files(one)[f"test {language}"] for one in (run, other_run))
    differences = []
    if not file.same_as(other_file):
        label, other_label = short_names([file, other_file])
        differences.append(f"scored on {other_label} in {other_names}, on {label} in {name}")
    differences += [f"{setting} is {_shown(other_run, setting)} in {other_names}, {_shown(run, setting)} in {name}"
                    for setting in _differing_settings(run, other_run)]
    return "; ".join(differences)


def _shown(run: RunFolder, setting: str) -> str:
    value = run.settings[setting]
    return (",".join(value) if isinstance(value, list) else str(value)) or "empty"


def _differing_settings(one: RunFolder, other: RunFolder) -> list[str]:
    """Return the settings by which the runs scored different parts of the same file, or against other labels."""
    texts = [name for run in (one, other) for name in settings_of_text(run.settings, TEST_LIMIT)]
    names = dict.fromkeys([*texts, "data.label_column", "data.labels"])
    return [name for name in names if one.settings[name] != other.settings[name]]


def meanings_of(groups: Sequence[Group]) -> dict[str, str]:
    """Return heading -> meaning, for all columns that the table of final scores can have."""
    return meanings(run.metrics for _, runs in groups for run in runs if run.metrics)


def _summary(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    mean, sd = mean_sd(values)
    return {"mean": mean, "sd": sd, "runs": len(values)}


def shown_columns(rows: Sequence[Row]) -> list[str]:
    """Return the headings under which any row of final_scores has a score."""
    headings = [heading for heading in rows[0] if heading not in NO_SCORES] if rows else []
    return [heading for heading in headings if any(row[heading] for row in rows)]


def cell(row: Row, heading: str) -> str | None:
    """Format a mean of final_scores in percent, with its deviation if there are several runs, and its mark; None for none."""
    score = row[heading]
    if not score:
        return None
    mark = f" {row['mark']}" if row["mark"] else ""
    return f"{100 * score['mean']:.1f}" + (f" ± {100 * score['sd']:.1f}" if score["runs"] > 1 else "") + mark
