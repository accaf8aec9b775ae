"""An HTML page and its tables.  The pages of runs have no scripts; that of `minixl study page` has.

Colours are CSS variables, light or dark as the reader's system asks.  Plots use them too: --s0 to --s5 for curves.  All of
them have a contrast of at least 4.5 to the background, and colour-blind readers can tell them apart (after Okabe & Ito).
"""
from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from minixl import __version__
from minixl.files import ROOM, write_atomically

STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1c2126;--muted:#57606a;--line:#d9dee3;--grid:#e9ecef;--accent:#0b5fa5;
--s0:#0067a8;--s1:#b34700;--s2:#00735a;--s3:#96417a;--s4:#766000;--s5:#3d434a}
@media(prefers-color-scheme:dark){:root{--page:#14171a;--ink:#e6e9ec;--muted:#9ba5af;--line:#363d44;--grid:#272c32;--accent:#6cb6ff;
--s0:#5ab4ec;--s1:#f2894b;--s2:#2fc59c;--s3:#e39ac6;--s4:#e0c34c;--s5:#bcc3ca}}
*{box-sizing:border-box}
html{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;background:var(--page);
color:var(--ink);-webkit-text-size-adjust:100%}
body{max-width:46rem;margin:0 auto;padding:2.5rem 1rem 4rem;overflow-wrap:anywhere}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .5rem;letter-spacing:-.01em}
h2{font-size:1.2rem;line-height:1.3;margin:2.75rem 0 .75rem}h3{font-size:1rem;margin:1.75rem 0 .5rem}
p{margin:.5rem 0}.about,.note{color:var(--muted);font-size:.875rem}
.key strong{margin-right:1.25em}.summary{font-size:1.125rem;margin:1rem 0 1.25rem}
.scroll{overflow-x:auto;margin:1rem 0 .5rem}.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--accent)}
table{border-collapse:collapse;width:100%;font-size:.9375rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
caption{caption-side:bottom;text-align:left;color:var(--muted);font-size:.8125rem;padding:.6rem 0 0;max-width:calc(100vw - 2rem)}
td,th{padding:.32rem .75rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{color:var(--muted);font-weight:500;font-size:.8125rem;border-bottom-width:2px}
tr>:first-child{padding-left:0}tr>:last-child{padding-right:0}tfoot td{font-weight:600;border-bottom:0}
tbody tr:hover td{background:var(--grid)}
.matrix tbody th{border-bottom-width:1px}
.text1 tr>:nth-child(-n+1),.text2 tr>:nth-child(-n+2),.text3 tr>:nth-child(-n+3),
.text4 tr>:nth-child(-n+4){text-align:left;white-space:normal}
details{margin:1rem 0;border-top:1px solid var(--line);padding-top:.6rem}summary{cursor:pointer;color:var(--accent)}
svg{display:block;width:100%;height:auto;font-family:inherit;font-variant-numeric:tabular-nums}.narrow{display:none}
@media(max-width:34rem){.wide{display:none}.narrow{display:block}body{padding-top:1.5rem}td,th{padding-left:.35rem;padding-right:.35rem}
 table{font-size:.8125rem}}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:1rem}
@media print{body{max-width:none}.scroll{overflow:visible}}
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main><h1>{title}</h1>
{body}</main>{scripts}</body></html>
"""
TEXT_COLUMNS = 4       # most columns of text that STYLE aligns to the left


def write_page(path: Path, title: str, body: Iterable[str], cure: str = ROOM, *, style: str = "", scripts: str = "") -> None:
    """Write an HTML page atomically.  Raises UserError, ending with `cure`, if it cannot be written.

    style: CSS after STYLE; scripts: elements at the end of the page.
    """
    text = PAGE.format(title=html.escape(title), style=STYLE + style, body="\n".join(body), scripts=scripts)
    write_atomically(path, text, cure)


def made_on(date: datetime) -> str:
    """Return the line below the title: the date, and the version of minixl."""
    return f'<p class="about">{date:%-d %B %Y, %H:%M} · minixl {__version__}</p>'


def notes(lines: Iterable[str]) -> list[str]:
    """Return a paragraph for each line, with a full stop."""
    return [f'<p class="note">{html.escape(line)}.</p>' for line in lines]


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]], foot: Iterable[Sequence[Any]] = (), *,
          text_columns: int | None = None) -> str:
    """Return an HTML table in a box that scrolls if it is too wide; a float has one decimal, None is a dash.

    caption: what the table shows, in which unit, and what its words mean; it stands below the table.
    foot: rows that summarise the others; text_columns: how many columns are set flush left, None: those before the first one
    of numbers.
    """
    rows, foot = list(rows), list(foot)
    if text_columns is None:
        text_columns = next((i for i in range(len(head)) if all(_is_number(row[i]) for row in rows)), len(head))
    parts = [f"<table><caption>{html.escape(caption)}</caption>", f"<thead>{_row('th', map(html.escape, head))}</thead>",
             f"<tbody>{''.join(_row('td', map(_cell, row)) for row in rows)}</tbody>",
             f"<tfoot>{''.join(_row('td', map(_cell, row)) for row in foot)}</tfoot>" if foot else "", "</table>"]
    return _in_box("".join(parts), caption, f"text{max(1, min(text_columns, TEXT_COLUMNS))}")


def matrix(caption: str, corner: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return a square table of counts, each shaded by its share of its row.  corner: what the rows are."""
    lines = [_row("th", map(html.escape, [corner, *labels]))]
    for label, row in zip(labels, counts, strict=True):
        shares = [100 * count / max(sum(row), 1) for count in row]
        cells = "".join(f'<td style="background:color-mix(in srgb,var(--s0) {0.45 * share:.0f}%,transparent)">{count}</td>'
                        for count, share in zip(row, shares, strict=True))
        lines.append(f"<tr><th>{html.escape(label)}</th>{cells}</tr>")
    return _in_box(f"<table><caption>{html.escape(caption)}</caption><thead>{lines[0]}</thead><tbody>{''.join(lines[1:])}</tbody>"
                   "</table>", caption, "text1 matrix")


def _in_box(content: str, caption: str, kind: str) -> str:
    """Return a table in a box that scrolls if it is too wide."""
    title = html.escape(caption.partition("  ")[0])
    return f'<div class="scroll {kind}" tabindex="0" role="region" aria-label="{title}">{content}</div>'


def _is_number(value: Any) -> bool:
    """Whether a cell is set flush right: a number, a mean ± deviation, or a dash for none."""
    return value is None or str(value).lstrip("+-")[:1].isdigit()


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:.1f}" if isinstance(value, float) else html.escape(str(value))


def _row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"
