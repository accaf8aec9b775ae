"""Labelled text with a word that is a name in one sentence and a colour in another."""
from __future__ import annotations

from pathlib import Path

SENTENCES = [("Brown visited paris .", "B-PER O B-LOC O"), ("a brown coat", "O O O"), ("anna lives .", "B-PER O O")]


def write_ambiguous(folder: Path) -> Path:
    """Write the sentences as columns."""
    path = folder / "ambiguous.txt"
    path.write_text("\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in zip(text.split(), tags.split(), strict=True))
                                for text, tags in SENTENCES) + "\n", encoding="utf-8")
    return path
