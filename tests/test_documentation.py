"""Commands and Python in README.md and docs/ are executed as they stand; the files they name are put there first."""
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from minixl.methods import SCHEMA
from minixl.settings import shipped_recipes
from tests.tiny import write_encoder, write_ner, write_topics

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SKIPPED = ("pip install", "pytest")            # the test command cannot run itself; CI runs both word for word

# What makes a documented command quick enough for a test; everything else of it runs as written.
QUICK = {"train": ["--set", "train.max_steps=2", "--set", "data.test_limit=5", "--set", "advpicker.epochs=1"]}


def commands(page: Path) -> list[str]:
    """Lines after `$ ` in console blocks, continuation lines joined."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [line[2:] for line in text.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the files the pages name, and minixl on the PATH."""
    folder = tmp_path_factory.mktemp("docs")
    write_encoder(folder / "ENCODER")
    for name in ("train", "dev", "en"):
        write_ner(folder / f"{name}.txt", "en", repeat=3)
    for name in ("es", "de", "nl"):
        write_ner(folder / f"{name}.txt", "es", repeat=2)
    (folder / "words.vec").write_text("2 3\nparis 1 2 3\nmadrid 4 5 6\n", encoding="utf-8")
    (folder / "pairs.tsv").write_text("anna lives .\tanna vive .\nben visited paris .\tben visita paris .\n" * 4, encoding="utf-8")
    for name in ("train", "dev", "es"):
        write_topics(folder / f"{name}.tsv", "en", repeat=3)
    return folder


def documented() -> list:
    return [pytest.param(command, id=f"{page.name}: {command}"[:80])
            for page in PAGES if page.name != "results.md" for command in commands(page) if "minixl " in command]


@pytest.mark.parametrize("command", documented())
def test_documented_command_runs(workplace, command):
    """In the order of the pages, in one folder: later commands use what earlier ones wrote."""
    if command.startswith("pip install '.[quickstart]' && "):
        command = command.partition(" && ")[2]
    assert not command.startswith(SKIPPED)
    words = shlex.split(command)
    kind = next((word for before, word in zip(words, words[1:], strict=False) if before.endswith("minixl")), "")
    if kind == "train" and "--resume" not in words and "--show" not in words:
        command += " " + shlex.join(QUICK["train"])
        if "ENCODER" in words:
            command += " --set data.max_length=32 --set model.freeze=bottom:1"
    command = re.sub(r"\bminixl ", f"{sys.executable} -m minixl ", command, count=1) if command.startswith("minixl") \
        else command.replace("| minixl ", f"| {sys.executable} -m minixl ")
    done = subprocess.run(command, shell=True, cwd=workplace, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_python_in_the_readme_runs(workplace):
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S):
        subprocess.run([sys.executable, "-c", code], cwd=workplace, check=True, capture_output=True, timeout=120)


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_named_in_tables_exist():
    for name in re.findall(r"\| (tests/\S+\.py) \|", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_recipe_loads_and_is_documented(name):
    SCHEMA.recipe(name)
    assert f"`{name}`" in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def test_settings_named_in_the_pages_exist():
    from minixl.methods import SCHEMA
    sections = "|".join({name.partition(".")[0] for name in SCHEMA if "." in name})
    for page in PAGES:
        for name in re.findall(rf"\b((?:{sections})\.[a-z_]+)=", page.read_text(encoding="utf-8")):
            assert name in SCHEMA, f"{page.name}: {name}"
