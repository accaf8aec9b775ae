"""An HTML page without scripts, and its tables."""
from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minixl.files import ROOM, write_atomically

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 sans-serif;max-width:48em;margin:2em auto;padding:0 1em;color:#222}}
table{{border-collapse:collapse;width:100%}}
caption{{text-align:left;color:#555;padding:.4em 0}}td,th{{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}}
td:first-child,th:first-child{{text-align:left}}svg{{width:100%;height:auto}}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""


def write_page(path: Path, title: str, body: Iterable[str], cure: str = ROOM) -> None:
    """Write an HTML page atomically.  Raises UserError, ending with `cure`, if it cannot be written."""
    write_atomically(path, PAGE.format(title=html.escape(title), body="\n".join(body)), cure)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return an HTML table; floats have one decimal, None is a dash.  caption: content, unit and the meaning of words."""
    def cell(value: Any) -> str:
        return "–" if value is None else f"{value:.1f}" if isinstance(value, float) else html.escape(str(value))
    lines = ["".join(f"<th>{html.escape(name)}</th>" for name in head)]
    lines += ["".join(f"<td>{cell(value)}</td>" for value in row) for row in rows]
    return f"<table><caption>{html.escape(caption)}</caption>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
