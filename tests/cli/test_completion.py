"""Completion in shells: through click's classes, and in a real bash that calls the installed command."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minixl.cli.completion import Bash, Zsh
from minixl.cli.main import COMMANDS, cli
from minixl.methods import SCHEMA
from minixl.settings import recipe_titles


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with texts, a run, and runs of several seeds."""
    for folder in ("es", "runs/one", "runs/five/seed-1"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("en.txt", "english.txt", "es/train.txt", "my file.txt", ".hidden", "runs/one/config.toml",
                 "runs/five/seed-1/config.toml"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def complete(here):
    """complete("minixl train --source en=") -> the values that zsh offers for the last word."""
    def call(line):
        *args, incomplete = line.split(" ")[1:]
        return [item.value for item in Zsh(cli, {}, "minixl", "_MINIXL_COMPLETE").get_completions(args, incomplete)]
    return call


def test_recipes(complete):
    assert complete("minixl train ") == list(recipe_titles())
    assert complete("minixl train advp") == ["advpicker", "advpicker-cpu"]


def test_settings_and_their_values(complete):
    assert complete("minixl train --set train.e") == ["train.epochs=", "train.eval_every="]
    assert complete("minixl train --set data.on_long=") == [f"data.on_long={choice}" for choice in SCHEMA["data.on_long"].choices]
    assert complete("minixl train --set train.score_tests=f") == ["train.score_tests=false"]
    assert complete("minixl train --set train.epochs=") == complete("minixl train --set trian.epochs=") == []


@pytest.mark.parametrize("words", ["train --source", "train --test", "evaluate MODEL", "data stats ner"])
def test_language_files(complete, words):
    assert complete(f"minixl {words} ") == ["en=", "es="]
    assert complete(f"minixl {words} en=e") == ["en=en.txt", "en=english.txt", "en=es/"]
    assert complete(f"minixl {words} es=es/") == ["es=es/train.txt"]
    assert complete(f"minixl {words} en=") == ["en=en.txt", "en=english.txt", "en=es/", "en=my file.txt", "en=runs/"]


def test_languages_of_the_line_come_first(complete):
    assert complete("minixl train --source nl=x.txt --test ") == ["nl=", "en=", "es="]


def test_runs(complete):
    assert complete("minixl report ") == ["es/", "runs/"]
    assert complete("minixl report runs/") == ["runs/five", "runs/one"]


def test_options_of_a_line_take_no_effect(complete, capsys):
    assert complete("minixl train -v --threads 99999999 --device c") == ["cpu", "cuda"]
    assert complete("minixl trian ") == list(COMMANDS)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("words", "values"), [
    (["train", "--source", "en", "=", "es/t"], ["es/train.txt"]), (["train", "--source", "en", "="], ["en.txt", "english.txt"]),
    (["train", "--source=en=es/"], ["es/train.txt"]), (["train", "--set", "data.on_long", "=", "w"], ["window"]),
    (["train", "--device", "=", "cp"], ["cpu"]), (["train", "--source", "en", "=", "my"], ["my\\ file.txt"]),
    (["train", "--set", "train.epo"], ["train.epochs="])])
def test_bash_cuts_words_at_the_equals_sign(here, monkeypatch, words, values):
    monkeypatch.setenv("COMP_WORDS", "\n".join(["minixl", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    lines = Bash(cli, {}, "minixl", "_MINIXL_COMPLETE").complete().splitlines()
    assert [line.removeprefix("plain,") for line in lines][:len(values)] == values


def test_zsh_shows_no_description_of_a_value_that_goes_on(here, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "minixl train --set train.epo")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert Zsh(cli, {}, "minixl", "_MINIXL_COMPLETE").complete() == "plain\ntrain.epochs=\n_"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_in_bash(here):
    """The function that bash calls when the user presses Tab."""
    (here / "bin").mkdir()
    command = here / "bin" / "minixl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.argv[0] = \'minixl\'; '
                       'from minixl.cli.main import main; main()" "$@"\n')
    command.chmod(0o755)
    script = '''eval "$(_MINIXL_COMPLETE=bash_source minixl)"
    compopt() { echo compopt "$1" "$2"; }
    complete -p minixl
    COMP_WORDS=(minixl train --source en = es/); COMP_CWORD=5; _minixl_completion minixl; echo "${COMPREPLY[@]}"
    COMPREPLY=(); COMP_WORDS=(minixl train --set train.epo); COMP_CWORD=3; _minixl_completion minixl; echo "${COMPREPLY[@]}"'''
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, cwd=here,
                          env={**os.environ, "PATH": f"{Path(here, 'bin')}:{os.environ['PATH']}"})
    assert (done.stdout.splitlines(), done.stderr) == (["complete -o nosort -F _minixl_completion minixl", "es/train.txt",
                                                        "compopt -o nospace", "train.epochs="], "")
