"""docs/architecture.md is true, and what it says that a test notices is noticed here."""
import ast
import configparser
import re
import subprocess
import sys

import pytest

from minixl import kernels
from minixl.cli.main import COMMANDS
from minixl.methods import SCHEMA
from tests.test_documentation import ROOT

ROOMS = ROOT / "docs" / "rooms.py"
MAPPED = ("kernels", "weights", "cli")
NO_COMMANDS = {"__init__", "completion", "evaluation_tables", "main", "options", "predicting", "progress", "recipes", "rendering",
               "stepping", "terminal"}                                               # the other files of cli/


def rooms(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOMS), *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def drawing():
    """The module docs/rooms.py."""
    import importlib.util
    spec = importlib.util.spec_from_file_location("rooms", ROOMS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for folder in ("minixl", *MAPPED) for path in (ROOT / folder).rglob("*.py"))


def test_the_picture_of_the_rooms_is_current():
    done = rooms("--check")
    assert done.returncode == 0, done.stderr


def test_an_old_picture_is_noticed_and_replaced(drawing, tmp_path, monkeypatch, capsys):
    current = drawing.PAGE.read_text(encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(current.replace("methods --> run", "methods --> ops"), encoding="utf-8")
    monkeypatch.setattr(drawing, "PAGE", page)
    assert drawing.main(["--check"]) == 1 and "run python docs/rooms.py" in capsys.readouterr().err
    assert drawing.main([]) == 0 and page.read_text(encoding="utf-8") == current and drawing.main(["--check"]) == 0
    assert drawing.main(["--chekc"]) == 2
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(ValueError, match="expected the lines"):
        drawing.main([])


def test_arrows_are_imports_of_every_kind(drawing, tmp_path):
    file = tmp_path / "file.py"
    file.write_text("import minixl.data.text\nimport numpy\n"
                    "from minixl import __version__, ops\nfrom minixl.errors import UserError\n"
                    "def late():\n    from minixl.run.job import train_run\n", encoding="utf-8")
    assert drawing.imported(file, {"data", "ops", "errors", "run", "bench"}) == {"data", "ops", "errors", "run"}
    graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": set()}
    assert drawing.reduced(graph) == {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": set()}
    file.write_text("from .ops import linear\n", encoding="utf-8")
    with pytest.raises(ValueError, match="file.py:1: expected an absolute import"):
        drawing.imported(file, {"ops"})


def test_every_room_is_in_the_picture_and_says_what_it_is_for(drawing, monkeypatch):
    listed = {room for layer in drawing.layers() for room in layer}
    folders = {path.parent.name for path in (ROOT / "minixl").glob("*/__init__.py")}
    files = {path.stem for path in (ROOT / "minixl").glob("*.py")}
    assert listed == (folders | files | set(MAPPED)) - {"__init__", "__main__", "recipes"}
    assert set(drawing.PURPOSE) == listed
    monkeypatch.delitem(drawing.PURPOSE, "run")
    with pytest.raises(ValueError, match="PURPOSE does not say what run is for"):
        drawing.picture()


def test_names_in_the_page_exist():
    """`NAME` of `path`: the file has that name."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    pairs = re.findall(r"`([\w.]+)` of `([\w/.]+)`", page)
    assert len(pairs) > 15
    for name, path in pairs:
        file = next(base / path for base in (ROOT, ROOT / "minixl") if (base / path).is_file())
        for part in name.split("."):
            assert re.search(rf"\b{part}\b", file.read_text(encoding="utf-8")), f"{path} has no {part}"


def test_every_package_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    files = [path for folder in ("minixl", *MAPPED) for path in (ROOT / folder).rglob("__init__.py")]
    names = [".".join(path.parent.relative_to(ROOT).parts) for path in files]
    packages = {name if name.partition(".")[0] == "minixl" else f"minixl.{name}" for name in names}
    assert set(config["options"]["packages"].split()) == packages


def test_every_op_is_used_by_a_test():
    tested: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                tested |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                tested |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                tested.add(node.value)
    ops = {f"minixl.ops.{path.stem}" for path in (ROOT / "minixl" / "ops").glob("*.py")} - {"minixl.ops.__init__"}
    assert not ops - tested


def test_every_kernel_is_in_the_table_of_the_readme():
    page = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `minixl/ops/(\w+)\.py`.* \| `\1\.py` \| `\1\.cu` \| `tests/kernels/test_\1\.py` \|$", page, re.M)
    assert sorted(rows) == sorted(kernels.OPS)


def test_every_command_is_listed():
    assert {path.stem for path in (ROOT / "cli").glob("*.py")} - NO_COMMANDS == COMMANDS.keys()


def test_every_setting_is_read_somewhere():
    code = sources()
    for name in SCHEMA:
        assert len(re.findall(f"[\"']{re.escape(name)}[\"']", code)) >= 2, f"{name} is declared, but nothing reads it"
