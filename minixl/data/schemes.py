"""Tag schemes for spans: IOB1, IOB2, IOBES, BIOUL; and "none" for tags that are not spans (parts of speech).

    IOB1    I- inside; B- only where a span follows another of its type       Ramshaw, Marcus 1995 (CoNLL 2003 en, de)
    IOB2    B- first word, I- the others                                      CoNLL 2002; what minixl works with
    IOBES   IOB2, but E- last word and S- the only word
    BIOUL   IOBES with L- for E- and U- for S-

A tag is O, or a letter, a hyphen and the type of the span.  Types are compared as a whole ("ORG-GPE" is not "ORG").
Tags without a type (B, I, O) are spans of type "".
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from minixl.errors import UserError

Span = tuple[str, int, int]                                       # type, first word, first word after it
Parsed = tuple[str, str]                                          # letter and type; ("O", "") outside a span

Pairs = dict[tuple[str, str], list[int]]                          # neighbouring tags -> count; sequence and position of the first

LETTERS = {"IOB1": "BIO", "IOB2": "BIO", "IOBES": "BIESO", "BIOUL": "BIOUL"}
AS_IOBES = {"L": "E", "U": "S"}
OUTSIDE: Parsed = ("O", "")


class LegalTransitions(NamedTuple):
    """Which tags may follow each other in a scheme."""

    start: np.ndarray        # (K,) bool    may be the first tag of a sentence
    transitions: np.ndarray  # (K, K) bool  [from, to]
    end: np.ndarray          # (K,) bool    may be the last tag of a sentence


@functools.cache
def parse_tag(tag: str) -> Parsed | None:
    """Split a tag into letter (L and U as E and S) and type, "B-PER" -> ("B", "PER"); None if it is not a span tag."""
    letter, hyphen, kind = tag[:1], tag[1:2], tag[2:]
    if tag == "O":
        return OUTSIDE
    if letter not in set("BIESLU") or (len(tag) > 1 and (hyphen != "-" or not kind)):
        return None
    return AS_IOBES.get(letter, letter), kind


def spans(tags: Sequence[str], strict: bool = False) -> list[Span]:
    """Return the spans of tags in any scheme, read as conlleval does: an I- (E-) opens a span if none of its type is open.

    strict: the tags are IOB2, only B- opens a span, and an I- that continues nothing is skipped (seqeval's strict mode).
    Both agree on valid tags.  Raises UserError for a tag that is not a span tag.
    """
    result: list[Span] = []
    start, open_kind = 0, None                                    # None: no span is open
    for i, (letter, kind) in enumerate([*map(_parse_span_tag, tags), OUTSIDE]):
        if strict and letter in "ES":
            raise UserError(f"tag {i + 1}: expected IOB2 tags for strict spans, found {tags[i]!r}; convert them first")
        if letter in "IE" and kind == open_kind:
            opens = False
        else:
            if open_kind is not None:
                result.append((open_kind, start, i))
            opens = letter == "B" if strict else letter != "O"
            start, open_kind = i, kind if opens else None
        if letter in "ES":
            result.append((kind, start, i + 1))
            open_kind = None
    return result


def convert(tags: Sequence[str], source: str, target: str) -> list[str]:
    """Write the same spans in the target scheme.

    Invalid tags are read as spans() reads them, so the result is always valid, even if source and target are the same.
    Raises UserError for a tag that is not in the source scheme.
    """
    if _check_scheme(source) == _check_scheme(target) == "none":
        return list(tags)
    if "none" in (source, target):
        raise UserError(f"scheme: expected two span schemes, found {source} and {target}; plain tags have no spans")
    _check_letters(tags, source)
    return _tag_spans(spans(tags), len(tags), target)


def paths_to_tags(paths: np.ndarray, starts: np.ndarray, labels: Sequence[str], scheme: str) -> list[list[str]]:
    """Class numbers (W,) of B sentences, starts (B+1,) -> the tags of every sentence, in IOB2 or plain."""
    named = np.array(labels, dtype=object)[paths]
    tags = [named[a:b].tolist() for a, b in zip(starts[:-1], starts[1:], strict=True)]
    return tags if scheme in ("IOB2", "none") else [convert(t, scheme, "IOB2") for t in tags]


def legal_transitions(labels: Sequence[str], scheme: str) -> LegalTransitions:
    """Return the transitions that a scheme allows between K labels; all of them for the scheme "none".

    Raises UserError for a label that is not a tag of the scheme.
    """
    if _check_scheme(scheme) == "none":
        size = len(labels)
        return LegalTransitions(np.ones(size, bool), np.ones((size, size), bool), np.ones(size, bool))
    _check_letters(labels, scheme)
    parsed = [_parse_span_tag(label) for label in labels]
    transitions = [_allowed(before, after, scheme) for before in parsed for after in parsed]
    return LegalTransitions(start=np.array([_allowed(OUTSIDE, tag, scheme) for tag in parsed], bool),
                            transitions=np.array(transitions, bool).reshape(len(labels), len(labels)),
                            end=np.array([_allowed(tag, OUTSIDE, scheme) for tag in parsed], bool))


def label_set(sequences: Iterable[Sequence[str]], scheme: str) -> list[str]:
    """Return the labels a tagger needs, sorted; for a span scheme O first, then every letter of every type, used or not."""
    tags = {tag for sequence in sequences for tag in sequence}
    if _check_scheme(scheme) == "none":
        return sorted(tags)
    if scheme == "IOB1":
        raise UserError("scheme: expected IOB2, IOBES, BIOUL or none, found IOB1; convert the tags first")
    kinds = sorted({_parse_span_tag(tag)[1] for tag in tags if tag != "O"})
    return ["O", *(f"{letter}-{kind}" if kind else letter for kind in kinds for letter in LETTERS[scheme] if letter != "O")]


def detect_scheme(sequences: Iterable[Sequence[str]], where: Callable[[int, int], str] | None = None) -> str:
    """Detect IOB1, IOB2, IOBES, BIOUL or none from all tag sequences of a file.

    Between IOB1 and IOB2, picks the one that fewer tags violate; a tie is IOB2, and so is a file with only O.  spans() reads
    the violations of both alike.  where(i, j) names tag j of sequence i in messages, for example by file and line.
    Raises UserError for a file that mixes span tags with plain tags, or IOBES (BIOUL) with another scheme.
    """
    where = where or (lambda i, j: f"sequence {i + 1}, tag {j + 1}")
    pairs: Pairs = {}
    for i, tags in enumerate(sequences):
        for j, pair in enumerate(zip(("O", *tags), (*tags, "O"))):
            pairs.setdefault(pair, [0, i, j])[0] += 1         # O also stands for either end of a sentence: same rules
    first: dict[str, tuple[int, int]] = {}                        # every tag and its first position
    for (_, after), (_, i, j) in pairs.items():
        first.setdefault(after, (i, j))
    if not _are_span_tags(first, where):
        return "none"
    for scheme, marks in (("IOBES", "ES"), ("BIOUL", "LU")):
        marker = next((tag for tag in first if tag[0] in marks), None)
        if marker is not None:
            violation = _first_violation(pairs, scheme)
            if violation is not None:
                tag, i, j = violation
                raise UserError(
                    f"{where(i, j)}: expected {scheme} tags like {marker} at {where(*first[marker])}, found {tag!r} of another "
                    f"scheme; use one scheme in the file, or read it as conlleval does with --set data.scheme={scheme}")
            return scheme
    violations = {scheme: sum(count for pair, (count, _, _) in pairs.items() if not _may_follow(pair, scheme))
                  for scheme in ("IOB1", "IOB2")}
    return "IOB1" if violations["IOB1"] < violations["IOB2"] else "IOB2"


def _first_violation(pairs: Pairs, scheme: str) -> tuple[str, int, int] | None:
    """Find the first tag that IOBES (BIOUL) does not allow at its position, with sequence and position; None if all are valid."""
    for (before, after), (_, i, j) in pairs.items():
        if after[0] not in LETTERS[scheme]:
            return after, i, j
        if not _may_follow((before, after), scheme):
            # either the second tag continues no open span, or the first leaves its span without an end
            return (after, i, j) if after[0] in "IEL" and before[0] not in "BI" else (before, i, j - 1)
    return None


def _are_span_tags(first: dict[str, tuple[int, int]], where: Callable[[int, int], str]) -> bool:
    """Whether these are span tags.  first: every tag and its first position.  Raises UserError if only some are."""
    typed = [tag for tag in first if tag != "O" and parse_tag(tag) is not None and len(tag) > 1]
    plain = [tag for tag in first if tag != "O" and tag not in typed]
    if not plain:
        return True                                               # also a file with only O
    if not typed:
        return set(plain) <= set("BIESLU") and bool(set(plain) & set("BI"))
    odd, usual, kind = (plain[0], typed[0], "span") if len(plain) <= len(typed) else (typed[0], plain[0], "plain")
    raise UserError(f"{where(*first[odd])}: expected a {kind} tag such as {usual} ({where(*first[usual])}), found {odd!r}; "
                    "correct it, or use the task pos for plain tags")


def _may_follow(pair: tuple[str, str], scheme: str) -> bool:
    return _allowed(_parse_span_tag(pair[0]), _parse_span_tag(pair[1]), scheme)


def _allowed(before: Parsed, after: Parsed, scheme: str) -> bool:
    """Whether one tag may follow another; either end of a sentence counts as O."""
    same = before[1] == after[1] and before[0] in "BI"            # a span of after's type is open
    if scheme == "IOB1":
        return after[0] != "B" or same
    if scheme == "IOB2":
        return after[0] != "I" or same
    return same if after[0] in "IE" else before[0] not in "BI"


def _tag_spans(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    tags = ["O"] * length
    last_kind, last_stop = "", 0
    for kind, start, stop in spans:
        letters = ["B"] + ["I"] * (stop - start - 1)
        if scheme == "IOB1" and not (start == last_stop > 0 and kind == last_kind):
            letters[0] = "I"
        if scheme in ("IOBES", "BIOUL"):
            letters[-1] = "S" if len(letters) == 1 else "E"
        tags[start:stop] = [_tag(letter, kind, scheme) for letter in letters]
        last_kind, last_stop = kind, stop
    return tags


def _tag(letter: str, kind: str, scheme: str) -> str:
    if scheme == "BIOUL":
        letter = {"E": "L", "S": "U"}.get(letter, letter)
    return f"{letter}-{kind}" if kind else letter


def _parse_span_tag(tag: str) -> Parsed:
    parsed = parse_tag(tag)
    if parsed is None:
        raise UserError(f"expected a span tag such as B-PER, I-PER or O, found {tag!r}; the scheme of plain tags is none")
    return parsed


def _check_letters(tags: Iterable[str], scheme: str) -> None:
    for tag in tags:
        if tag[:1] not in set(LETTERS[scheme]):
            raise UserError(f"scheme: expected {scheme} tags ({', '.join(LETTERS[scheme])}), found {tag!r}")


def _check_scheme(scheme: str) -> str:
    if scheme != "none" and scheme not in LETTERS:
        raise UserError(f"scheme: expected {', '.join(LETTERS)} or none, found {scheme!r}")
    return scheme
