"""minixl train for a language model: without labelled text, resumed, and with bad input: one line, exit 1."""
from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from minixl.cli.main import cli
from minixl.errors import UserError
from minixl.methods.mlma.page import perplexity_section
from tests.methods.mlma.small import TINY, run, settings
from tests.methods.mlma.small import inputs as inputs_of
from tests.whole_runs import assert_same_run, stopped

SETS = [word for name, value in TINY.items() for word in ("--set", f"{name}={json.dumps(value) if value is not True else 'true'}")]


def train(*arguments):
    """The exit code's exception, the output on both streams."""
    return CliRunner().invoke(cli, ["train", *map(str, arguments)])


def test_a_language_model_is_trained_without_labelled_text(data, tmp_path):
    text = "--unlabelled", f"en={data}/en.raw", "--unlabelled", f"es={data}/es.raw.gz"
    done = train("mlma", *text, *SETS, "--out", tmp_path / "lm")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["perplexity", "forward", "backward"] and [line[0] for line in lines[1:]] == ["en", "es"]
    stored = json.loads((tmp_path / "lm" / "metrics.json").read_text())["perplexity"]
    assert lines[1][1:] == [f"{stored['en'][direction]:.1f}" for direction in ("forward", "backward")]
    assert "language model: " in done.stderr and "es.raw.gz: 26 sentences" in done.stderr


def test_it_is_resumed_with_the_same_bits(data, tmp_path):
    alone = {"source": {}, "dev": {}, "test": {}}
    run(data, tmp_path / "once", inputs=inputs_of(data, **alone))
    stopped(data, tmp_path / "twice", settings(), 4, inputs=inputs_of(data, **alone))
    done = train("--resume", "--out", tmp_path / "twice")
    assert done.exit_code == 0, done.output
    assert_same_run(tmp_path / "once", tmp_path / "twice")


def test_what_a_language_model_alone_cannot_use_is_refused(data, tmp_path):
    """Before anything is trained: several seeds, which share a language model, and labelled text that nothing would read."""
    text = "--unlabelled", f"en={data}/en.raw", "--unlabelled", f"es={data}/es.raw.gz"
    for options, message in [(("--seeds", 2), "^--seeds: expected one seed for a language model alone, found 2; give labelled "),
                             (("--test", f"es={data}/es.txt"), "^--test: expected labelled source text too, .* leave --test out$"),
                             (("--dev", f"en={data}/en.txt"), "^--dev: expected labelled source text too, .* leave --dev out$")]:
        done = train("mlma", *text, *SETS, *options, "--out", tmp_path / "lm")
        assert isinstance(done.exception, UserError) and re.search(message, str(done.exception)), done.output
        assert not list(tmp_path.glob("lm/**/model"))


def test_a_damaged_log_is_one_line(data, tmp_path):
    run(data, tmp_path / "lm", inputs=inputs_of(data, source={}, dev={}, test={}))
    log = tmp_path / "lm" / "log.jsonl"
    log.write_text("{broken\n" + log.read_text())
    with pytest.raises(UserError, match=r"log.jsonl:1: expected an update or an evaluation .*, found '\{broken'; the file is "):
        perplexity_section(tmp_path / "lm")


@pytest.mark.parametrize("text, message", [("only two\n" * 9 + "\n", "expected lines of 3 to 200 words, found none"),
                                           ("no no no\n" * 9, "expected at least 2 different words, found only 'no'")])
def test_bad_text_is_one_line(data, tmp_path, text, message):
    (tmp_path / "bad.txt").write_text(text)
    files = "--unlabelled", f"en={data}/en.raw", "--unlabelled", f"es={tmp_path}/bad.txt"
    done = train("mlma-cpu", *files, "--out", tmp_path / "run")
    assert isinstance(done.exception, UserError) and not (tmp_path / "run").exists()
    assert str(done.exception).startswith(f"--unlabelled es={tmp_path}/bad.txt: {message}") and "\n" not in str(done.exception)


def test_other_methods_still_need_labelled_text(data, tmp_path):
    done = train("bilstm-crf-ner-cpu", "--unlabelled", f"en={data}/en.raw", "--out", tmp_path / "run")
    assert done.exit_code == 2 and "--source LANGUAGE=FILE is missing" in done.output
