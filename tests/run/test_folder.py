"""What a run folder is continued with: the settings, files and directory it began in, and a word about what is missing."""
from pathlib import Path
from shutil import copytree

import pytest

from minixl.data.inputs import Inputs, parse_language_file
from minixl.errors import UserError
from minixl.methods import SCHEMA, resolve, train
from minixl.training.config import read_config
from tests.whole_runs import Quiet, advpicker, assert_same_run, inputs, records, run, settings, stopped, write_data

SHORT = settings(train__max_steps=3, train__eval_every=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def out(folder, tmp_path):
    """A run that was stopped after its first step."""
    stopped(folder, tmp_path / "run", SHORT, 1)
    return tmp_path / "run"


def resume(folder, out, **how):
    """Continue as --resume does, with the content of config.toml."""
    chosen, files, seed = read_config(out, SCHEMA)
    return run(folder, out, how.pop("chosen", chosen), inputs=files, seed=seed, resume=True, **how)


@pytest.mark.parametrize(("old", "new"), [("\nlr = 0.001", "\nlr = 0.002"), ("seed = 3\n", "seed = 4\n"),
                                          ("size = 8\n", "size = 9\n"), ("/es.raw", "/es.txt"), ('"fr=', '"it=')])
def test_an_edited_config_is_refused(folder, out, old, new):
    text = (out / "config.toml").read_text()
    assert old in text
    (out / "config.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=r"^--resume: .*/config.toml was changed since the run began; undo that, or choose "):
        resume(folder, out)
    (out / "config.toml").write_text(text)
    resume(folder, out)


def test_a_text_that_changed_is_said_before_its_mistakes(folder, tmp_path):
    path = tmp_path / "dev.txt"
    path.write_bytes((folder / "en.txt").read_bytes())
    stopped(folder, tmp_path / "run", SHORT, 1, inputs=inputs(folder, dev=[("en", path)]))
    path.write_text(path.read_text() + "changed\n")
    with pytest.raises(UserError, match=f"^--resume: {path} has changed since the run began; put the old "):
        resume(folder, tmp_path / "run")


def test_comments_and_versions_may_change(folder, out):
    (out / "config.toml").write_text("# mine\n" + (out / "config.toml").read_text().replace('minixl = "', 'minixl = "9'))
    resume(folder, out)


def test_a_byte_order_mark_changes_nothing(folder, out):
    (out / "config.toml").write_text((out / "config.toml").read_text(), encoding="utf-8-sig")
    resume(folder, out)


def test_a_setting_that_is_given_anew_is_named(folder, out):
    """It is reported before the file is checked, which the user has not touched."""
    with pytest.raises(UserError, match="^--resume: optim.lr was 0.001 when the run began, now it is 0.5; leave it out to continue "
                                        "that run, or choose a new --out folder$"):
        resume(folder, out, chosen=settings(train__max_steps=3, train__eval_every=100, optim__lr=0.5))


@pytest.mark.parametrize(("content", "found"), [(None, "no file"), ('{"a"', "a damaged file .*"), ("[]", "other content")])
def test_digests_that_are_missing_or_damaged(folder, out, content, found):
    (out / "inputs.json").unlink()
    if content is not None:
        (out / "inputs.json").write_text(content)
    with pytest.raises(UserError, match=f"run/inputs.json: expected the digests of .*, found {found}; put it back, or "):
        resume(folder, out)


def test_it_continues_from_another_directory(folder, tmp_path, monkeypatch):
    chosen, files = SHORT, inputs(folder)
    run(folder, tmp_path / "whole", chosen)
    relative = Inputs(files.encoder.relative_to(folder), **{role: [(language, path.relative_to(folder)) for language, path in
                                                                   getattr(files, role)] for role in ("source", "dev", "test",
                                                                                                      "unlabelled")})
    monkeypatch.chdir(folder)
    stopped(folder, tmp_path / "run", chosen, 2, inputs=relative)
    monkeypatch.chdir(tmp_path)
    assert read_config(tmp_path / "run", SCHEMA)[1] == files
    resume(folder, tmp_path / "run")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_the_same_files_may_be_named_otherwise(folder, out, monkeypatch):
    monkeypatch.chdir(folder)
    en, es = (("en", Path("en.txt")), ("es", Path("es.txt")))
    run(folder, out, SHORT, inputs=inputs(folder, source=[en], dev=[en, es]), resume=True)


def test_the_folder_of_other_teachers_is_known_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve(advpicker(advpicker__teachers_from="runs/one"))[1]["advpicker.teachers_from"] == str(tmp_path / "runs" / "one")
    assert resolve(advpicker())[1]["advpicker.teachers_from"] == ""


@pytest.mark.parametrize("resume", [False, True])
def test_several_seeds_do_not_move_in_with_one_run(folder, tmp_path, resume):
    run(folder, tmp_path / "run", SHORT)
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}
    with pytest.raises(UserError, match="^--seeds: .*run holds one run of seed 3; choose a new --out folder for several seeds$"):
        train(SHORT, inputs(folder), tmp_path / "run", seeds=[1, 2], reporter=Quiet(), resume=resume)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}
    assert not list((tmp_path / "run").glob("seed-*"))


def test_input_messages_appear_once_for_all_seeds(folder, tmp_path):
    reporter = Quiet()
    train(settings(train__max_steps=1), inputs(folder), tmp_path / "runs", seeds=[1, 2], reporter=reporter)
    assert sum(message.startswith("source en:") for message in reporter.messages) == 1
    assert [message for message in reporter.messages if message.startswith("seed ")] == ["seed 1 (1 of 2)", "seed 2 (2 of 2)"]


def test_a_lost_checkpoint_is_reported(folder, tmp_path):
    chosen = settings(train__max_steps=3, train__eval_every=1)
    stopped(folder, tmp_path / "run", chosen, 2)
    (tmp_path / "run" / "checkpoint" / "latest.json").unlink()
    reporter = Quiet()
    resume(folder, tmp_path / "run", reporter=reporter)
    assert f"warning: {tmp_path}/run/checkpoint/latest.json is not there: training begins at step 0 again" in reporter.messages
    assert [record["step"] for record in records(tmp_path / "run") if record["kind"] == "update"] == [0, 1, 2]


def test_no_message_about_a_checkpoint_that_never_existed(folder, tmp_path):
    """Killed before its first step."""
    stopped(folder, tmp_path / "run", SHORT, 1)
    (tmp_path / "run" / "log.jsonl").write_text("")
    for path in (tmp_path / "run" / "checkpoint").iterdir():
        path.unlink()
    reporter = Quiet()
    resume(folder, tmp_path / "run", reporter=reporter)
    assert not any("step 0" in message for message in reporter.messages)


DIVERGED = {
    "task": ({"method": "finetune", "optim__lr": 1e30}, r"step 2, task update: the gradient became (nan|inf): its learning rate "
             r"\(optim.lr, optim.head_lr\) is too high"),
    "generator": ({"adversary__discriminator_lr": 1e30}, "step 1, generator update: the gradient became (nan|inf): its learning "
                  r"rate \(adversary.lr\) or that of an earlier update \(optim.lr, optim.head_lr, adversary.discriminator_lr\) is "
                  "too high"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", DIVERGED)
def test_a_run_that_diverges_names_the_update_and_its_rate(folder, tmp_path, name):
    changes, said = DIVERGED[name]
    adversarial = {"method": "language-adversarial", "adversary__level": "token"} if name == "generator" else {}
    chosen = settings(**adversarial, train__max_steps=6, train__eval_every=100, optim__warmup=0.0, optim__schedule="constant",
                      **changes)
    with pytest.raises(FloatingPointError, match=f"^{said}, or the data is broken; --resume would fail again: choose a new "):
        run(folder, tmp_path / "run", chosen)


@pytest.mark.parametrize("text", ["e s=x", "=x", "es", "es=", "e.s=x", "e/s=x"])
def test_names_of_languages(text):
    with pytest.raises(UserError, match=f"--test {text}: expected "):
        parse_language_file(text, "--test")
    assert [parse_language_file(f"{name}=x", "--test")[0] for name in ("es", "pt-BR", "zh_2")] == ["es", "pt-BR", "zh_2"]


@pytest.mark.parametrize(("old", "new"), [("seed = 3\n", 'seed = "x"\n'), ("source = [", "source = [3, "),
                                          ("[inputs]", "[elsewhere]")])
def test_a_config_that_cannot_be_understood_is_one_line(folder, out, old, new):
    text = (out / "config.toml").read_text()
    assert old in text
    (out / "config.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match="/config.toml: expected the settings of a run as minixl wrote them, found a damaged file"):
        resume(folder, out)


def test_a_name_that_is_not_utf8_is_refused_before_the_folder_is_made(folder, tmp_path):
    path = Path(str(tmp_path / "d\udcfcsseldorf.txt"))
    with pytest.raises(UserError, match=r"^--test es='.*d\\udcfcsseldorf.txt': expected a path in UTF-8, as config.toml requires"):
        run(folder, tmp_path / "run", SHORT, inputs=inputs(folder, test=[("es", path)]))
    assert not (tmp_path / "run").exists()


def test_the_cure_for_a_folder_in_use_is_one_that_works(folder, out, tmp_path):
    with pytest.raises(UserError, match=f"^--out {out}: the folder is in use; choose another, or continue that run with --resume "
                                        f"--out {out}$"):
        run(folder, out, SHORT)
    resume(folder, out)
    with pytest.raises(UserError, match=f"^--out {out}: the folder holds a finished run, its scores are in {out}/metrics.json; "
                                        f"choose another, or repeat it with other settings: minixl train {out} "
                                        "--set SECTION.KEY=VALUE --out NEW$"):
        run(folder, out, SHORT)
    with pytest.raises(UserError, match="^--resume: train.max_steps was 3 when the run began, now it is 4; that run is finished, "
                                        f"or repeat it with other settings: minixl train {out} --set train.max_steps=4 --out NEW$"):
        resume(folder, out, chosen=SHORT.override(["train.max_steps=4"]))
    seeds = tmp_path / "seeds"
    for seed in (1, 2):
        stopped(folder, seeds / f"seed-{seed}", SHORT, 1, seed=seed)
    with pytest.raises(UserError, match=f"or continue these runs with --resume --seeds 2 --out {seeds}$"):
        run(folder, seeds, SHORT)


@pytest.mark.parametrize("name", ["encoder", "es.raw"])
def test_an_input_that_is_gone_is_to_be_put_back(folder, tmp_path, name):
    data, out = Path(copytree(folder, tmp_path / "data")), tmp_path / "run"
    stopped(data, out, SHORT, 1)
    (data / name).rename(tmp_path / name)
    with pytest.raises(UserError, match=f"^--resume: {data}/{name} is not there any more, but the run in {out} began with it; put "
                                        "it back, or choose a new --out folder$"):
        resume(data, out)
    (tmp_path / name).rename(data / name)
    resume(data, out)
