"""The order of the rooms: setup.cfg has it as a contract of import-linter, which is checked here, and an import upwards breaks it.

import-linter does not follow the folder mapping of setup.cfg in an editable install, so it reads a copy of the package.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("kernels", "weights", "cli")
MOST_AT_THE_ROOT = 12


@pytest.fixture
def package(tmp_path):
    """The folder of a package minixl with everything inside it, as it is when installed."""
    only_python = shutil.ignore_patterns("__pycache__", "*.cu", "*.cuh", "*.toml", "*.md")
    shutil.copytree(ROOT / "minixl", tmp_path / "minixl", ignore=only_python)
    for name in MAPPED:
        shutil.copytree(ROOT / name, tmp_path / "minixl" / name, ignore=only_python)
    return tmp_path / "minixl"


def lint(package: Path) -> subprocess.CompletedProcess:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return subprocess.run([sys.executable, "-c", code, str(ROOT / "setup.cfg"), "--no-cache"], cwd=package.parent,
                          env={**os.environ, "PYTHONPATH": str(package.parent)}, capture_output=True, text=True, timeout=120)


def test_a_room_imports_only_those_below_it(package):
    done = lint(package)
    assert done.returncode == 0, done.stdout
    assert "the order of the rooms KEPT" in done.stdout


@pytest.mark.parametrize(("file", "line", "broken"), [
    ("training/loop.py", "from minixl.methods.finetune import Finetune", "minixl.training is not allowed to import minixl.methods"),
    ("ops/linear.py", "import minixl.models.bert", "minixl.ops is not allowed to import minixl.models"),
    ("data/corpus.py", "from minixl.ops.linear import linear_forward", "minixl.data is not allowed to import minixl.ops"),
    ("run/job.py", "def late():\n    from minixl.methods import METHODS", "minixl.run is not allowed to import minixl.methods"),
    ("newroom.py", "", "newroom")])
def test_an_import_upwards_is_noticed(package, file, line, broken):
    """Also inside a function; and a room that has no place in the order."""
    with open(package / file, "a", encoding="utf-8") as source:
        source.write(f"\n\n{line}\n")
    done = lint(package)
    assert done.returncode != 0 and broken in done.stdout, done.stdout


def test_the_root_holds_only_what_every_room_stands_on():
    assert len(list((ROOT / "minixl").glob("*.py"))) <= MOST_AT_THE_ROOT


def test_no_file_is_longer_than_one_sitting():
    long = {str(path.relative_to(ROOT)): count for folder in ("minixl", *MAPPED, "tests") for path in (ROOT / folder).rglob("*")
            if path.suffix in (".py", ".cu", ".cuh") and (count := len(path.read_text(encoding="utf-8").splitlines())) > 350}
    assert not long
