"""Every command and all Python in README.md and docs/ run as written; the files, options and settings named there exist."""
import gzip
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from minixl.cli.main import COMMANDS, cli
from minixl.methods import METHODS, SCHEMA
from minixl.report.curves import COLUMNS
from minixl.settings import shipped_recipes
from minixl.training.update import Update
from tests.alignment.planted import planted_spaces, write_vectors
from tests.distributed.mpiexec import mpiexec
from tests.tiny import write_encoder, write_ner, write_topics

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "kernels" / "README.md"]
NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
PRINTED = ("gradients.md",)                    # pages whose commands print what is below them, without QUICK
SKIPPED = ("pip install", "pytest")            # the test command cannot run itself; CI runs both word for word

# Added to a documented command, to make it quick enough for a test
QUICK = {"train": ["--set", "train.max_steps=2", "--set", "data.test_limit=5", "--set", "advpicker.epochs=1",
                   "--set", "zero_resource.source_epochs=1", "--set", "language_model.steps=2"],
         "align": ["--set", "adversarial.epoch_size=2000", "--set", "similarity.patience=1", "--set", "align.criterion_words=300"]}


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """What comes after `$ ` in console blocks, continuation lines joined, each with the lines printed below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def differences(documented: list[str], printed: list[str]) -> list[str]:
    """The documented lines that were not printed in this order; [...] stands for any lines, and numbers may differ by 2%."""
    wrong, place, gap = [], 0, False
    for line in documented:
        if line == "[...]":
            gap = True
            continue
        end = len(printed) if gap else min(place + 1, len(printed))
        match = next((i for i in range(place, end) if is_same(line, printed[i])), None)
        if match is None:
            wrong.append(line)
        place, gap = (place if match is None else match) + 1, gap and match is None
    return wrong


def is_same(line: str, printed: str) -> bool:
    """Whether two lines have the same words, and numbers that are nearly the same; what is below 1e-6 is rounding."""
    numbers, words = ([re.findall(NUMBER, text) for text in (line, printed)],
                      [re.sub(NUMBER, "#", text).split() for text in (line, printed)])
    pairs = [(float(one), float(other)) for one, other in zip(*numbers, strict=False)]
    return words[0] == words[1] and all(abs(one - other) <= 0.02 * max(abs(one), abs(other)) + 1e-6 for one, other in pairs)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the files that the commands name."""
    folder = tmp_path_factory.mktemp("docs")
    write_encoder(folder / "ENCODER")
    for name in ("train", "dev", "en"):
        write_ner(folder / f"{name}.txt", "en", repeat=3)
    for name in ("es", "de", "nl"):
        write_ner(folder / f"{name}.txt", "es", repeat=2)
    for name, line in (("en-text.txt", "ben lives in madrid ."), ("es-text.txt.gz", "anna visita madrid .")):
        text = f"{line}\n".encode() * 24
        (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    (folder / "words.vec").write_text("2 3\nparis 1 2 3\nmadrid 4 5 6\n", encoding="utf-8")
    (folder / "pairs.tsv").write_text("anna lives .\tanna vive .\nben visited paris .\tben visita paris .\n" * 4, encoding="utf-8")
    (folder / "news.csv").write_text("id;section;body\n" + '1;travel;"anna visited paris; ben ."\n2;home;anna lives .\n' * 4)
    (folder / "en-es.txt").write_text("the el\nlives vive\n", encoding="utf-8")
    spaces = planted_spaces(1000, 8)
    for language, matrix in {"en": spaces.x, "es": spaces.y, "de": spaces.x[:, ::-1]}.items():
        write_vectors(folder / f"{language}.vec", [str(i) if i < 50 else f"{language}{i}" for i in range(1000)], matrix)
    (folder / "dictionary.txt").write_text("".join(f"en{i} es{i}\n" for i in range(50, 99)), encoding="utf-8")
    for name in ("train", "dev", "test", "es"):
        write_topics(folder / f"{name}.tsv", "en", repeat=3)
    return folder


def documented() -> list:
    return [pytest.param(command, printed if page.name in PRINTED else [], id=f"{page.name}: {command}"[:80])
            for page in PAGES if page.name != "results.md" for command, printed in commands(page) if "minixl " in command]


@pytest.mark.parametrize(("command", "printed"), documented())
def test_documented_command_runs(workplace, command, printed):
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
    if kind == "align":
        command += " " + shlex.join(QUICK[kind])
    command = re.sub(r"\bminixl ", f"{sys.executable} -m minixl ", command, count=1) if command.startswith("minixl") \
        else command.replace("| minixl ", f"| {sys.executable} -m minixl ")
    command = command.replace("mpiexec -n 2 minixl ", shlex.join([*mpiexec(2), sys.executable, "-m", "minixl"]) + " ")
    done = subprocess.run(command, shell=True, cwd=workplace, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout and not differences(printed, done.stdout.splitlines())


def test_a_documented_line_that_is_not_printed_is_noticed():
    printed = ["[1/9] forward crf", "y  3 float32  norm 4.8", "  0.1  -0.25", "", "last"]
    assert not differences(printed, printed) and not differences(["[1/9] forward crf", "[...]", "last"], printed)
    assert not differences(["[1/9] forward crf", "y 3 float32  norm 4.81"], printed)
    for wrong in (["y  3 float32  norm 4.8"], ["[1/9] forward crf", "y  3 float32  norm 5.8"], ["[...]", "y  3 float64  norm 4.8"],
                  ["[1/9] forward crf", "y  3 float32  norm 4.8", "  0.1  0.25"], ["[1/9] forward crf", "last"]):
        assert differences(wrong, printed)[:1] == wrong[-1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_runs(workplace, page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        subprocess.run([sys.executable, "-c", code], cwd=workplace, check=True, capture_output=True, timeout=120)


def broken_links(page: Path) -> list[str]:
    """The links of a page to files or headings that do not exist."""
    broken = []
    for target in re.findall(r"\]\(([^):]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (heading and heading not in headings(file)):
            broken.append(target)
    return broken


def headings(page: Path) -> set[str]:
    """The headings of a page as in links to them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def missing_files(page: Path) -> list[str]:
    """Names that look like files of the repository, outside code blocks, of files that do not exist; * stands for any text.

    They may be relative to the repository, to minixl/ or to the page.  A file to be written is called NAME or LANGUAGE;
    model/... is of a run.
    """
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    names = set(re.findall(r"(?<![\w/.-])[\w./*-]+\.(?:py|cuh?|h|cfg)\b", text))
    names |= set(re.findall(r"(?<![\w/.~-])(?:minixl|kernels|weights|cli|tests|docs|recipes|\.ci)/[\w./*-]*", text))
    names = {name.rstrip(".") for name in names if "NAME" not in name and not name.startswith("model/")}
    return sorted(name for name in names if not any(list(base.glob(name)) for base in (ROOT, ROOT / "minixl", page.parent)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_exist(page):
    assert not broken_links(page)
    assert not missing_files(page)


def broken_blocks(page: Path) -> list[str]:
    """Lines of a page that open or close a code block beside other text, or continue a command at their beginning."""
    lines = page.read_text(encoding="utf-8").splitlines()
    fences = [line for line in lines if "```" in line]
    wrong = [line for line in fences if not re.fullmatch(r" *```\w*", line)] + [line for line in lines if line.startswith("\\")]
    return wrong or ([] if len(fences) % 2 == 0 else ["a block without an end"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_are_closed(page):
    assert not broken_blocks(page)


def test_a_broken_block_is_noticed(tmp_path):
    for text, wrong in [("```\na \\\n  b\n```\n", []), ("```\na ```\n", ["a ```"]), ("```\na\n\\ b\n```\n", ["\\ b"]),
                        ("```\na\n", ["a block without an end"])]:
        (tmp_path / "page.md").write_text(text, encoding="utf-8")
        assert broken_blocks(tmp_path / "page.md") == wrong


def test_a_missing_link_or_file_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading, of two\n[a](#a-heading-of-two) [b](#another) [c](other.md) [d](page.md)\n"
                    "`optim.py` `gone.py` tests/gone minixl/ops/*.py minixl/ops/x*.py `kernels/NAME.cu` config.toml\n"
                    "```\nwithin/blocks.py\n```\n", encoding="utf-8")
    assert broken_links(page) == ["#another", "other.md"]
    assert missing_files(page) == ["gone.py", "minixl/ops/x*.py", "tests/gone"]


def options_of(command: click.Command) -> set[str]:
    """The options of a command and of those below it."""
    own = {option for parameter in command.params for option in parameter.opts}
    if not isinstance(command, click.Group):
        return own
    context = click.Context(command)
    return own.union(*(options_of(command.get_command(context, name)) for name in command.list_commands(context)))


def test_options_named_in_the_pages_exist():
    # of docs/rooms.py, of tests/reference and tests/alignment, of click; of Slurm and pytest
    others = {"--dim", "--words", "--check", "--optim", "--lr", "--batch", "--help",
              "--kill-on-bad-exit", "--gpus-per-task", "--signal", "--dist"}
    for page in PAGES:
        text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"))
        text = re.sub(r"```(?:bash|yaml)\n.*?```", "", text, flags=re.S)     # job files have options of other programs
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
        assert not named - options_of(cli) - others, page


def test_commands_named_in_the_pages_exist():
    for page in PAGES:
        for name in re.findall(r"(?:^\$ |`|\| )minixl ([a-z]+)", page.read_text(encoding="utf-8"), re.M):
            assert name in COMMANDS, f"{page}: minixl {name}"


def test_fields_of_a_run_are_documented():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", (ROOT / "docs" / "runs.md").read_text(encoding="utf-8"), re.M))
    named = {file: set(re.findall(r"`(\w+)`", row)) for file, row in rows.items()}
    assert set(Update._fields) <= named["log.jsonl"] and "subset" not in named["log.jsonl"]
    assert set(COLUMNS) | {"loss_NAME", "NAME_accuracy"} <= named["curves.csv"]


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_recipe_loads_and_is_documented(name):
    SCHEMA.recipe(name)
    assert f"`{name}`" in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_documented(name):
    assert f"\n## {name}\n" in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert name in {SCHEMA.recipe(recipe)["method"] for recipe in shipped_recipes()}


def test_the_page_of_recipes_has_every_section_and_a_recipe_that_loads(tmp_path):
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for name in SCHEMA:
        assert f"`{name.partition('.')[0]}.*`" in page or f"`{name}`" in page, name
    (tmp_path / "mine.toml").write_text(re.search(r"```toml\n(.*?)```", page, re.S)[1], encoding="utf-8")
    settings, base = SCHEMA.recipe(tmp_path / "mine.toml"), SCHEMA.recipe("finetune-ner-cpu")
    assert {name for name in SCHEMA if settings[name] != base[name]} == {"train.epochs"}


def test_settings_named_in_the_pages_exist():
    sections = "|".join({name.partition(".")[0] for name in SCHEMA if "." in name})
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        names = re.findall(rf"\b((?:{sections})\.[a-z_]+)=", text) + re.findall(rf"`((?:{sections})\.[a-z_]+)`", text)
        for name in names:
            assert name in SCHEMA or name in ("model.safetensors", "optim.py"), f"{page}: {name}"
