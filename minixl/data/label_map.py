"""Read labels under other names: data.labels, such as MISC=O,GPE=LOC for entities or politics=news,spam= for documents.

    ner               OLD and NEW are entity types, B- and I- stay; NEW may be O
    pos               OLD and NEW are tags
    classification    OLD and NEW are labels; an empty NEW leaves out the documents of OLD

All pairs apply at once: A=B,B=A swaps two labels.
"""
from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minixl.data.examples import TAGGING
from minixl.data.schemes import parse_tag
from minixl.errors import WARNING, UserError, nearest

if TYPE_CHECKING:
    from minixl.data.corpus import Corpus

NAME = "data.labels"


class LabelMap:
    """New names of labels; it remembers which labels it has seen."""

    def __init__(self, task: str, pairs: Sequence[str]) -> None:
        """pairs: OLD=NEW.  Raises UserError for anything else, for an OLD given twice, and for a NEW that is no label."""
        self.task = task
        self.new: dict[str, str] = {}
        self.seen: set[str] = set()
        for pair in pairs:
            old, equals, new = (part.strip() for part in pair.partition("="))
            if not (old and equals) or "=" in new:
                raise UserError(f"{NAME}: expected OLD=NEW for each label to rename, for example "
                                f"{'MISC=O,GPE=LOC' if task == 'ner' else 'OLD=NEW,OTHER=NEW'}, got {pair!r}")
            if old in self.new:
                raise UserError(f"{NAME}: {pair}: {old} is given twice; expected each label once")
            if not new and task in TAGGING:
                raise UserError(f"{NAME}: {pair}: expected {'an entity type or O' if task == 'ner' else 'a tag'} after the =, as "
                                "every word needs a tag, found nothing")
            tag = next((name for name in (old, new) if task == "ner" and _is_tag(name, outside=name is old)), None)
            if tag:
                raise UserError(f"{NAME}: {pair}: expected entity types such as {tag[2:] or 'PER'}, got the tag {tag}")
            self.new[old] = new

    def apply(self, corpus: Corpus) -> Corpus:
        """Rename the labels of a corpus.  Raises UserError if this leaves out all its texts."""
        self.seen |= {self._kind(label) for label in corpus.labels()}
        if not self.new:
            return corpus
        inputs: Any
        if corpus.task in TAGGING:
            inputs = [replace(s, tags=s.tags and tuple(map(self._tag, s.tags))) for s in corpus.sentences()]
        else:
            renamed = [replace(d, label=self.new.get(d.label or "", d.label)) for d in corpus.documents()]
            inputs = [document for document in renamed if document.label]
            if not inputs:
                raise UserError(f"{corpus.path}: {NAME} leaves out all {len(renamed)} texts; expected some with other labels")
        return replace(corpus, inputs=inputs)

    def unused(self) -> list[str]:
        """Return a message for each label to rename that no text had."""
        return [f"{WARNING}{NAME}: {old}={new} has no effect: no labelled file has {old}{nearest(old, self.seen)}"
                for old, new in self.new.items() if old not in self.seen]

    def _kind(self, label: str) -> str:
        """Return the type of an entity tag; any other label as it is."""
        return label[2:] if self.task == "ner" else label

    def _tag(self, tag: str) -> str:
        new = self.new.get(self._kind(tag))
        return tag if new is None else new if self.task != "ner" or new == "O" else tag[:2] + new


def _is_tag(name: str, *, outside: bool) -> bool:
    """Whether this is a tag such as B-PER instead of a type.  outside: also for O."""
    return bool(name[1:2] == "-" and parse_tag(name)) or (outside and name == "O")


def rename_hint(task: str, label: str) -> str:
    """Return the end of an error about a label or tag that the model does not have: the option that renames it."""
    def option(new: str) -> str:
        return f"--set {NAME}={_value(f'{label}={new}')}"

    if task == "ner":
        label = label[2:]
        return f"; {option('O')} reads it as O" if label else ""
    if task == "pos":
        return f"; {option('TAG')} reads it as another tag"
    return f"; {option('')} leaves out its texts, {option('LABEL')} renames it"


def _value(pair: str) -> str:
    """Quote a pair for a shell; a comma would divide it."""
    return shlex.quote(json.dumps([pair], ensure_ascii=False) if "," in pair else pair)
