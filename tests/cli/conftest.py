"""The command line, called in this process."""
import io
import sys

import pytest

from minixl.cli.main import main


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
