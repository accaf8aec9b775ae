"""minixl predict as a filter: a line of a pipe is answered before the next one comes; a bar shows the progress over a file."""
import json
import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from minixl.cli.predicting import together


@pytest.fixture
def started(models):
    """started("ner", ...) -> a function that writes a line to a running predict and returns the line that it answers."""
    running = []

    def start(model, *options):
        process = subprocess.Popen([sys.executable, "-m", "minixl", "predict", str(models / model / "model"), *options],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                   env={**os.environ, "OMP_NUM_THREADS": "1"})
        running.append((process, timer := threading.Timer(60, process.kill)))         # a hanging test fails instead
        timer.start()

        def ask(line):
            process.stdin.write(line + "\n")
            return process.stdout.readline()
        return ask
    yield start
    for process, timer in running:
        assert process.communicate()[0] == "" and process.returncode == 0
        timer.cancel()


def test_every_line_is_answered_at_once(started):
    ask = started("topics")
    assert [ask(line).rstrip("\n").split("\t")[-1] for line in ("anna lives", "", "ben", "  ")] == ["anna lives", "", "ben", ""]


def test_json_lines_and_tables_are_answered_at_once(started):
    ask = started("ner")
    for number in range(2):
        assert json.loads(ask(json.dumps({"id": number, "text": "anna lives ."})))["id"] == number
    ask = started("topics")
    assert ask("id,text") == "id,text,prediction,confidence\n"
    assert ask("1,anna").startswith("1,anna,") and ask('2,"ben, anna"').startswith('2,"ben, anna",')


def test_what_is_there_is_predicted_together():
    here = iter([True, True, False, True])
    items = iter(range(5))
    assert [together(items, 10, lambda: next(here, False)) for _ in range(4)] == [[0, 1, 2], [3, 4], [], []]
    items = iter(range(5))
    assert [together(items, 2, lambda: True) for _ in range(4)] == [[0, 1], [2, 3], [4], []]


@pytest.mark.parametrize("name", ["en.txt", "en.tsv", "es.raw"])
@pytest.mark.parametrize("terminals", ["stderr", "stdout and stderr"])
def test_a_bar_for_a_file(models, name, terminals):
    """Over all lines of the file, where it does not cross the output."""
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-m", "minixl", "predict", str(models / "topics" / "model"), str(models / name)],
                          timeout=60, stdin=subprocess.DEVNULL, stderr=theirs,
                          stdout=subprocess.PIPE if terminals == "stderr" else theirs,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"})
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        shown = read_all(terminal)
    lines = len((models / name).read_text().splitlines())
    assert done.returncode == 0 and (f"{lines}/{lines}" in shown) == ("predicting" in shown) == (terminals == "stderr")


def read_all(terminal):
    """What a terminal has shown; Linux raises an error at the end."""
    data = b""
    with suppress(OSError):
        while part := terminal.read(4096):
            data += part
    return data.decode()
