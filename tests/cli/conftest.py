"""The command line, called in this process."""
import io
import sys

import pytest

from minixl.cli.main import main
from tests.tiny import write_pos
from tests.whole_runs import inputs, run, settings, write_data


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Data, and the runs ner, pos and topics of one step, each with its model."""
    folder = write_data(tmp_path_factory.mktemp("models"))
    write_pos(folder / "pos.txt", "en", repeat=2)
    for name, task, files in (("ner", "ner", {}), ("topics", "classification", {}),
                              ("pos", "pos", {"inputs": inputs(folder, source=[("en", folder / "pos.txt")], dev=[], test=[])})):
        run(folder, folder / name, settings(task=task, train__max_steps=1, optim__lr=1e-2), **files)
    return folder


@pytest.fixture
def minixl(monkeypatch, capsys):
    """minixl("train", ...) -> (exit code, stdout, stderr)."""
    def call(*args, stdin=""):
        monkeypatch.setattr(sys, "argv", ["minixl", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin)))
        code = 0
        try:
            main()
        except SystemExit as error:
            code = error.code
        out, err = capsys.readouterr()
        return code, out, err
    return call
