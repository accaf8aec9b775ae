"""Run folders as reports read them: of another version, unfinished, without training, mixed or damaged; and what pages say."""
import json
import re

import pytest
from click.testing import CliRunner

from minixl import __version__
from minixl.cli.report import report
from minixl.errors import UserError
from minixl.methods.advpicker.algorithm import NO_TRAINING
from minixl.methods.advpicker.page import audit_html
from minixl.report.comparison import without_scores
from minixl.report.folders import expand
from minixl.run.folder import begin
from tests.report.compared import group, read_folder, write_comparison, write_report
from tests.whole_runs import inputs, settings

SCORES = {"en": {"f1": 0.5}, "es": {"f1": 0.25}}
METRICS = {"method": "finetune", "task": "ner", "seed": 1, "test": SCORES, "last": SCORES, "oracle": {}, "steps": 2,
           "selected_step": 1, "seconds": 3.0, "tokens_per_second": 4.0, "peak_memory_bytes": 5}
UPDATE = {"kind": "update", "step": 0, "loss": "task", "value": 4.0, "accuracy": None}
LOG = [UPDATE, {**UPDATE, "step": 1, "loss": "discriminator", "accuracy": 0.5},
       {"kind": "evaluation", "step": 2, "dev": {"en": {"f1": 0.5}}}]


def write_run(folder, seed=1, *, log=LOG, metrics=METRICS, **changes):
    """A run folder; its inputs lie two folders above a seed's folder."""
    folder.mkdir(parents=True)
    begin(folder, settings(**changes), inputs(folder.parent.parent), seed, {})
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log))
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def edit(folder, *changes):
    """config.toml with each (old, new) replaced."""
    text = (folder / "config.toml").read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "config.toml").write_text(text)
    return folder


def compared(tmp_path, *folders):
    write_comparison(folders, tmp_path / "page.html")
    return (tmp_path / "page.html").read_text()


def test_a_run_of_another_version(tmp_path):
    """A setting had another type, one was not there yet, a section had another name: it is the same run with another seed."""
    new = write_run(tmp_path / "a" / "new", 1)
    old = edit(write_run(tmp_path / "a" / "old", 2), ("constrained = true", "constrained = 1"),
               ("max_minutes = 0.0\nmax_steps", "max_steps"),
               ("[linkage]\ndistance = \"average-linkage\"\nlevel = \"none\"\n",
                "[alignment]\naverage_linkage = false\nlevel = \"sentence\"\n"))
    assert read_folder(old).settings["train.max_minutes"] == 0.0
    assert [name for name, _ in group([read_folder(new), read_folder(old)])[0]] == ["new (2 seeds)"]
    edit(old, ("[train]", "[train]\nolder = 1979-05-27\nmax_minutes = 'many'"))
    page = compared(tmp_path, new, old)
    assert "<td>train.older</td><td>–</td><td>&quot;1979-05-27&quot;</td>" in page
    assert "<td>train.max_minutes</td><td>0.0</td><td>&quot;many&quot;</td>" in page and "linkage" not in page


@pytest.mark.parametrize(("old", "new", "found"), [
    ('task = "ner"', 'task = "translation"', "the task 'translation'"), ('task = "ner"', "task = []", r"the task \[\]"),
    ("[inputs]", "[other]", "no 'inputs'"), ("seed = 1\nm", "seed = [\nm", "Invalid value"),
    ("seed = 1\nm", "inputs = 1\nseed = 1\nm", "Cannot"), ('source = ["en', 'source = ["', "--source =")])
def test_a_config_that_cannot_be_read(tmp_path, old, new, found):
    folder = edit(write_run(tmp_path / "run"), (old, new))
    version = __version__ if "[other]" in new or "task" in new or "source" in new else "an unknown version"
    with pytest.raises(UserError, match=rf"run/config.toml: expected the settings of a run, .*\({__version__}\) cannot read "
                                        rf"\({found}.*another version \({version}\) wrote it; leave this run out$"):
        read_folder(folder)


@pytest.mark.parametrize(("line", "number"), [
    ("{", 4), ("[]", 4), ("{}", 4), ('{"kind": "update", "step": 1, "loss": "task"}', 4),
    ('{"kind": "update", "step": 1, "loss": "discriminator", "value": 1.0, "accuracy": "high"}', 4),
    ('{"kind": "update", "step": 1, "loss": "task", "value": NaN}', 4), ('{"kind": "evaluation", "step": 1}', 4),
    ('{"kind": "evaluation", "step": 1, "dev": {"en": {"accuracy": 0.5}}}', 4),
    ('{"kind": "evaluation", "step": 1, "dev": {}, "test": {"en": 1}}', 4)])
def test_a_log_that_is_damaged(tmp_path, line, number):
    folder = write_run(tmp_path / "run")
    with open(folder / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(line + "\n")
    with pytest.raises(UserError, match=rf"run/log.jsonl:{number}: expected an update or an evaluation with its f1, found "):
        read_folder(folder)


def test_a_log_that_is_not_there(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "log.jsonl").unlink()
    with pytest.raises(UserError, match="run/log.jsonl: cannot be read .No such file or directory.; leave this run out$"):
        read_folder(folder)


@pytest.mark.parametrize(("metrics", "found"), [
    ("{", "a damaged file .*"), ("[]", "other content"), ({**METRICS, "test": {"en": {"accuracy": 0.5}}}, "other content"),
    ({name: value for name, value in METRICS.items() if name != "oracle"}, "other content"),
    ({**METRICS, "seeds": [1, 2], "test": {"en": {"f1": {"mean": 0.5, "sd": 0.1}}}}, "the summary of several seeds")])
def test_scores_that_are_damaged(tmp_path, metrics, found):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").write_text(metrics if isinstance(metrics, str) else json.dumps(metrics))
    with pytest.raises(UserError, match=f"run/metrics.json: expected the f1 of one run for test, last, oracle, found {found}; "):
        read_folder(folder)


def test_a_run_among_seeds(tmp_path):
    """A folder that is a run and holds the runs of seeds as well: which one is meant?"""
    write_run(tmp_path / "mixed")
    for seed in (1, 2, 10):
        write_run(tmp_path / "mixed" / f"seed-{seed}", seed)
    with pytest.raises(UserError, match=r"mixed: expected one run, or the folders of several seeds, found both; give the seeds one "
                                        r"by one \(.*mixed/seed-1 .*mixed/seed-2 \.\.\.\), or move them out of the folder$"):
        expand(tmp_path / "mixed")


def test_runs_without_final_scores(tmp_path):
    done, stopped = write_run(tmp_path / "done"), write_run(tmp_path / "stopped", metrics=None, optim__lr=0.1)
    begun = write_run(tmp_path / "begun", log=(), metrics=None, optim__lr=0.2)
    untested = write_run(tmp_path / "untested", metrics={**METRICS, "test": {}, "last": {}}, optim__lr=0.3)
    lines = [f"{stopped}: unfinished, 2 steps so far, so it has no final scores",
             f"{begun}: unfinished, 0 steps so far, so it has no final scores",
             f"{untested}: no test file was given, so it has no final scores"]
    assert without_scores(group(map(read_folder, (done, stopped, begun, untested)))[0]) == lines
    page = compared(tmp_path, done, stopped, begun, untested)
    assert all(f">{line}.</p>" in page for line in lines)
    assert "<td>stopped</td><td>–</td><td>–</td>" in page
    assert "<caption>Test" not in compared(tmp_path, stopped)
    with pytest.raises(UserError, match="begun: expected a run with at least one step, found an empty log.jsonl; wait"):
        compared(tmp_path, begun)


def test_a_finished_run_without_training_is_compared(tmp_path):
    """Its log is empty (variant without-kd), but it has scores: the teachers', under no step that was never made."""
    none = write_run(tmp_path / "none", log=(), metrics={**METRICS, "method": "advpicker", **NO_TRAINING})
    page = compared(tmp_path, none)
    assert re.findall("<th>(.*?)</th>", page) == ["language", "run", "teachers"] and "<td>none</td><td>50.0</td></tr>" in page
    assert captions(page)[0] == ("Test f1, %.  teachers: AdvPicker&#x27;s teachers together: the most confident one tags each "
                                 "sentence.")
    page = compared(tmp_path, none, write_run(tmp_path / "trained", optim__lr=0.1))
    assert re.findall("<th>(.*?)</th>", page)[:5] == ["language", "run", "selected", "last", "teachers"]
    assert "<td>none</td><td>–</td><td>–</td><td>50.0</td>" in page
    assert "<td>trained</td><td>50.0</td><td>50.0</td><td>–</td>" in page


def test_names_tell_which_run_is_meant(tmp_path):
    write_run(tmp_path / "big", 7)                                     # whose stages the teachers are
    for seed in (1, 2):
        write_run(tmp_path / "big" / "teachers" / f"seed-{seed}", seed)
        write_run(tmp_path / "small" / f"seed-{seed}", seed, optim__lr=0.1)

    def names(*folders):
        return [name for name, _ in group(read_folder(folder) for given in folders for folder in expand(tmp_path / given))[0]]
    assert names("big/teachers", "small") == ["big/teachers (2 seeds)", "small (2 seeds)"]
    assert names("big/teachers/seed-1", "small/seed-2") == ["big/teachers/seed-1", "small/seed-2"]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    """As many as it takes; another run keeps its short name."""
    def names(*folders):
        runs = [write_run(tmp_path / folder, optim__lr=0.01 * i) for i, folder in enumerate(folders, 1)]
        return [name for name, _ in group(map(read_folder, runs))[0]]
    assert names("one/run", "two/run", "other") == ["one/run", "two/run", "other"]
    assert names("x/a/run", "y/a/run", "y/b/run") == ["x/a/run", "y/a/run", "b/run"]


def captions(page):
    return re.findall("<caption>(.*?)</caption>", page)


def test_every_table_says_what_it_shows(tmp_path):
    oracle = {**METRICS, "oracle": {"es": {"f1": 0.75}}}
    page = compared(tmp_path, write_run(tmp_path / "a"), write_run(tmp_path / "b", optim__lr=0.1))
    assert page.count("<table>") == len(captions(page)) == 2
    assert captions(page)[0].startswith("Test f1, %.  selected: ") and "oracle" not in page and "deviation" not in page
    page = compared(tmp_path, tmp_path / "a", write_run(tmp_path / "c", 2, metrics=oracle))
    assert captions(page)[0].startswith("Test f1, %, mean ± standard deviation over the seeds.  selected: ")
    assert "; oracle: " in captions(page)[0] and "<td>es</td><td>a (2 seeds)</td><td>25.0 ± 0.0</td>" in page
    assert "<td>75.0</td>" in page                                     # of one run of the two: no deviation


@pytest.mark.parametrize(("metrics", "heads", "said"), [
    (METRICS, ["language", "selected", "last"], "2 steps, the model is from step 1; "),
    ({**METRICS, "oracle": {"es": {"f1": 0.75}}}, ["language", "selected", "last", "oracle"], "<td>–</td>"),
    ({**METRICS, "method": "advpicker", **NO_TRAINING}, ["language", "teachers"],
     "No student was trained (advpicker.variant=without"),
    ({**METRICS, "test": {}, "last": {}}, [], "No test file was given")])
def test_the_page_of_a_run_shows_what_there_is(tmp_path, metrics, heads, said):
    folder = edit(write_run(tmp_path / "run", metrics=metrics), ("[linkage]", "[linkage]\nfuture = 0.0"))
    write_report(folder, metrics)
    page = (folder / "report.html").read_text()
    assert said in page
    page = page.split("<details>")[0]                                  # without settings and inputs
    assert re.findall("<th>(.*?)</th>", page) == heads
    assert [caption.startswith("Test f1, %.  ") for caption in captions(page)] == [True] * bool(heads)
    assert all(f"{name}: " in captions(page)[0] for name in heads[1:])


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("option, name", [("--out", "report.html"), ("--csv", "curves.csv")])
def test_a_runs_own_files_are_not_replaced(tmp_path, option, name, finished):
    """Neither those it has nor those it is going to write.  Beside them, or under another name, there is room."""
    folder = write_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(folder)
    if finished:
        (folder / name).write_text("the run's own")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for place in (folder, tmp_path / "link"):
        given = {"--out": str(tmp_path / "page.html"), option: str(place / name)}
        done = CliRunner().invoke(report, [str(folder), *(word for pair in given.items() for word in pair)])
        assert str(done.exception) == f"{option} {place / name}: this file belongs to the run in this folder; choose another name"
    assert {path: path.read_bytes() for path in folder.iterdir()} == before and not (tmp_path / "page.html").exists()
    for place in (tmp_path / name, folder / f"all-{name}"):
        given = {"--out": str(tmp_path / "page.html"), option: str(place)}
        done = CliRunner().invoke(report, [str(folder), *(word for pair in given.items() for word in pair)])
        assert done.exit_code == 0 and place.stat().st_size > 100


def test_the_words_of_the_studies_are_explained():
    """They are those of audit.json, and a part is called the same in every table and picture."""
    part = [{"part": name, "sentences": count, "f1": 0.5} for name, count in (("selected", 0), ("other", 3), ("all", 3))]
    row = {"sizes": {"selected": 2, "other": 0, "all": 2}, "histogram": [], "pseudo_labels": part, "sweep": [],
           "teachers": [{"teacher": 0, "chosen": 2, "confidence": 0.5, "agreement": 0.5}]}
    page = audit_html({"languages": {"es": row}, "test": {"es": {"teachers": part}}}, "f1")
    assert page.count("<table>") == len(captions(page)) == 4 and "kept" not in page and "left out" not in page
    for word in ("selected: ", "other: ", "teachers: ", "sentences: ", "confidence: ", "merged: ", "share ρ "):
        assert sum(word in caption for caption in captions(page)) >= 1, word
    assert "p̄ is the probability" in page and all("in %" in caption for caption in captions(page) if "f1" in caption)
    first, second = page.split("<table>")[1:3]
    assert "<td>selected</td>" in first and "<td>other</td>" not in first      # all of the text was selected,
    assert "<td>selected</td>" not in second and "<td>other</td>" in second    # none of the test file
