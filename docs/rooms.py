"""Draws the rooms of the package and the imports between them, as a Mermaid flowchart in docs/architecture.md.

    python docs/rooms.py            rewrite the picture in the page
    python docs/rooms.py --check    exit with 1 if the page does not have the current picture

Rooms stand in the order of the contract in setup.cfg.  An arrow is an import; one that follows from a chain of others is
left out.
"""
from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- begin: python docs/rooms.py -->\n", "<!-- end -->"
CONTRACT = "importlinter:contract:rooms"

PURPOSE = {
    "cli": "one command a file",
    "study": "one training step, number by number",
    "bench": "speed of training and of kernels",
    "methods": "one paper each, and the terms",
    "run": "from inputs to a run folder",
    "report": "curves and pages",
    "training": "one stage: loop, update, checkpoint",
    "evaluation": "scores, probe, translations",
    "prediction": "a model folder tags text",
    "alignment": "word vectors of two languages in one space",
    "building": "one family of models a file",
    "weights": "model and vector files",
    "models": "ops put together",
    "parameters": "parameters and gradients by name",
    "optim": "AdamW, SGD, schedules",
    "kernels": "CUDA versions of ops",
    "ops": "one op a file",
    "data": "text files to packed batches",
    "backend": "NumPy or CuPy, threads, @op",
    "distributed": "processes that train together",
    "settings": "sections, schema, recipes",
    "files": "atomic writes, digests",
    "packing": "starts of packed sequences",
    "errors": "UserError",
    "blas": "threads of OpenBLAS",
}

Imports = dict[str, set[str]]          # room -> rooms that it imports


def layers() -> list[list[str]]:
    """The rooms that exist, from top to bottom, as setup.cfg orders them."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    rows = [re.findall(r"\w+", line) for line in config[CONTRACT]["layers"].split("\n")]
    rows = [[room for room in row if list(files_of(room))] for row in rows]
    return [row for row in rows if row]


def folder_of(room: str) -> Path:
    """The folder of a room; kernels, weights and cli are folders at the top of the repository."""
    return ROOT / room if (ROOT / room).is_dir() else ROOT / "minixl" / room


def files_of(room: str) -> Iterator[Path]:
    """The Python files of a room: of its folder, or one file at the root of the package."""
    file = ROOT / "minixl" / f"{room}.py"
    yield from [file] if file.is_file() else sorted(folder_of(room).rglob("*.py"))


def imported(file: Path, rooms: set[str]) -> set[str]:
    """The rooms that a file imports, also inside functions."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{file}:{node.lineno}: expected an absolute import, found a relative one")
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("minixl.")} & rooms


def imports(rooms: list[str]) -> Imports:
    """The imports between rooms."""
    return {room: set().union(*(imported(file, set(rooms)) for file in files_of(room))) - {room} for room in rooms}


def reachable(room: str, graph: Imports) -> set[str]:
    """The rooms that a room imports directly or through others."""
    return graph[room].union(*(reachable(other, graph) for other in graph[room]))


def reduced(graph: Imports) -> Imports:
    """The graph without imports that follow from a chain of others."""
    return {room: others - set().union(*(reachable(other, graph) for other in others)) for room, others in graph.items()}


def picture() -> str:
    """The flowchart; a room that is one file has round corners."""
    rooms = [room for layer in layers() for room in layer]
    missing = set(rooms) - PURPOSE.keys()
    if missing:
        raise ValueError(f"docs/rooms.py: PURPOSE does not say what {', '.join(sorted(missing))} is for")
    lines = ["```mermaid", "flowchart TD"]
    for room in rooms:
        left, right = ("[", "]") if folder_of(room).is_dir() else ("([", "])")
        lines.append(f'    {room}{left}"<b>{room}</b><br/>{PURPOSE[room]}"{right}')
    graph = reduced(imports(rooms))
    lines += [f"    {room} --> {' & '.join(other for other in rooms if other in graph[room])}" for room in rooms if graph[room]]
    return "\n".join([*lines, "```"]) + "\n"


def with_picture(page: str) -> str:
    """The page with the current picture between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE}: expected the lines {BEGIN.strip()!r} and {END!r} around the picture")
    return before + BEGIN + picture() + END + after


def main(arguments: list[str]) -> int:
    """Write or check the page; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print(f"usage: python docs/rooms.py [--check], got {' '.join(arguments)}", file=sys.stderr)
        return 2
    page = PAGE.read_text(encoding="utf-8")
    new = with_picture(page)
    if arguments:
        if new != page:
            print(f"{PAGE}: the picture is not current; run python docs/rooms.py", file=sys.stderr)
        return int(new != page)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
