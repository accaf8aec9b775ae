"""How spans are written as tags: IOB1, IOB2, IOBES, BIOUL; and "none" for tags that are no spans (parts of speech).

    IOB1    I- inside; B- only where a span follows another of its type       Ramshaw, Marcus 1995 (CoNLL 2003 en, de)
    IOB2    B- first word, I- the others                                      CoNLL 2002; what minixl works with
    IOBES   IOB2, but E- last word and S- the only word
    BIOUL   IOBES with L- for E- and U- for S-

A tag is a letter, a hyphen and the type of the span, or O.  Types are compared as a whole ("ORG-GPE" is not "ORG").
Tags without types (B, I, O) are spans whose type is "".
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from minixl.errors import UserError

Span = tuple[str, int, int]                                       # type, first word, first word after it
Parsed = tuple[str, str]                                          # letter and type; ("O", "") outside a span

Pairs = dict[tuple[str, str], list[int]]                          # neighbours -> count, first sequence, first place

LETTERS = {"IOB1": "BIO", "IOB2": "BIO", "IOBES": "BIESO", "BIOUL": "BIOUL"}
AS_IOBES = {"L": "E", "U": "S"}
OUTSIDE: Parsed = ("O", "")


class Legal(NamedTuple):
    """Which tags may follow each other, as the scheme has it."""

    start: np.ndarray        # (K,) bool    may be the first tag of a sentence
    transitions: np.ndarray  # (K, K) bool  [from, to]
    end: np.ndarray          # (K,) bool    may be the last tag of a sentence


@functools.cache
def parse(tag: str) -> Parsed | None:
    """Letter (L and U as E and S) and type of a tag; None where it is no tag of a span: "B-PER" -> ("B", "PER")."""
    letter, hyphen, kind = tag[:1], tag[1:2], tag[2:]
    if tag == "O":
        return OUTSIDE
    if letter not in set("BIESLU") or (len(tag) > 1 and (hyphen != "-" or not kind)):
        return None
    return AS_IOBES.get(letter, letter), kind


def spans(tags: Sequence[str], strict: bool = False) -> list[Span]:
    """The spans in any scheme's tags, read as conlleval does: an I- (E-) with nothing of its type open opens a span.

    strict: the tags are IOB2 and only B- opens a span; an I- that continues nothing is passed over (seqeval's strict
    mode).  On tags that obey their scheme both agree.  Raises UserError for a tag that is no span tag.
    """
    found: list[Span] = []
    start, open_kind = 0, None                                    # None: no span is open
    for i, (letter, kind) in enumerate([*map(_parsed, tags), OUTSIDE]):
        if strict and letter in "ES":
            raise UserError(f"tag {i + 1}: expected IOB2 tags for strict spans, found {tags[i]!r}; convert them first")
        if letter in "IE" and kind == open_kind:
            opens = False
        else:
            if open_kind is not None:
                found.append((open_kind, start, i))
            opens = letter == "B" if strict else letter != "O"
            start, open_kind = i, kind if opens else None
        if letter in "ES":
            found.append((kind, start, i + 1))
            open_kind = None
    return found


def convert(tags: Sequence[str], source: str, target: str) -> list[str]:
    """The same spans in the target scheme.  Tags that do not obey their scheme are read as spans() reads them, so
    the result always does, also where source and target are the same.  Raises UserError for a tag not in the source."""
    if _known(source) == _known(target) == "none":
        return list(tags)
    if "none" in (source, target):
        raise UserError(f"scheme: expected two schemes of spans, found {source} and {target}; plain tags have no spans")
    _check_letters(tags, source)
    return _written(spans(tags), len(tags), target)


def written(paths: np.ndarray, starts: np.ndarray, labels: Sequence[str], scheme: str) -> list[list[str]]:
    """Class numbers (W,) of B sentences, starts (B+1,), as the tags of every sentence, in IOB2 or plain."""
    named = np.array(labels, dtype=object)[paths]
    tags = [named[a:b].tolist() for a, b in zip(starts[:-1], starts[1:], strict=True)]
    return tags if scheme in ("IOB2", "none") else [convert(t, scheme, "IOB2") for t in tags]


def legal_transitions(labels: Sequence[str], scheme: str) -> Legal:
    """start (K,), transitions (K, K) [from, to] and end (K,) of these K labels; all True for the scheme "none".

    Raises UserError for a label that is no tag of the scheme.
    """
    if _known(scheme) == "none":
        size = len(labels)
        return Legal(np.ones(size, bool), np.ones((size, size), bool), np.ones(size, bool))
    _check_letters(labels, scheme)
    parsed = [_parsed(label) for label in labels]
    return Legal(start=np.array([_allowed(OUTSIDE, tag, scheme) for tag in parsed], bool),
                 transitions=np.array([_allowed(before, after, scheme) for before in parsed for after in parsed], bool)
                 .reshape(len(labels), len(labels)),
                 end=np.array([_allowed(tag, OUTSIDE, scheme) for tag in parsed], bool))


def label_set(sequences: Iterable[Sequence[str]], scheme: str) -> list[str]:
    """The labels a tagger needs: sorted; for a scheme of spans O first and every letter of every type, occurring or not."""
    tags = {tag for sequence in sequences for tag in sequence}
    if _known(scheme) == "none":
        return sorted(tags)
    if scheme == "IOB1":
        raise UserError("scheme: expected IOB2, IOBES, BIOUL or none, found IOB1; convert the tags first")
    kinds = sorted({_parsed(tag)[1] for tag in tags if tag != "O"})
    return ["O", *(f"{letter}-{kind}" if kind else letter for kind in kinds for letter in LETTERS[scheme] if letter != "O")]


def detect_scheme(sequences: Iterable[Sequence[str]], where: Callable[[int, int], str] | None = None) -> str:
    """IOB1, IOB2, IOBES, BIOUL or none, from all tag sequences of a file.

    Between IOB1 and IOB2 the one that fewer tags break (a tie is IOB2, and so is a file of nothing but O); spans()
    reads what breaks either alike.  where(i, j) names tag j of sequence i in messages (file and line, say).
    Raises UserError for a file that mixes span tags with plain ones, or IOBES (BIOUL) with another scheme.
    """
    where = where or (lambda i, j: f"sequence {i + 1}, tag {j + 1}")
    pairs: Pairs = {}
    for i, tags in enumerate(sequences):
        for j, pair in enumerate(zip(("O", *tags), (*tags, "O"))):
            pairs.setdefault(pair, [0, i, j])[0] += 1         # O stands for either end of a sentence too: same rules
    first: dict[str, tuple[int, int]] = {}                        # every tag and where it comes first
    for (_, after), (_, i, j) in pairs.items():
        first.setdefault(after, (i, j))
    if not _spanned(first, where):
        return "none"
    for scheme, marks in (("IOBES", "ES"), ("BIOUL", "LU")):
        sign = next((tag for tag in first if tag[0] in marks), None)
        if sign is not None:
            odd = _breach(pairs, scheme)
            if odd is not None:
                tag, i, j = odd
                raise UserError(
                    f"{where(i, j)}: expected {scheme} tags, as {sign} at {where(*first[sign])} is one, found {tag!r} of "
                    f"another scheme; write the file in one, or --set data.scheme={scheme} reads it as conlleval does")
            return scheme
    strays = {scheme: sum(count for pair, (count, _, _) in pairs.items() if not _neighbours(pair, scheme))
              for scheme in ("IOB1", "IOB2")}
    return "IOB1" if strays["IOB1"] < strays["IOB2"] else "IOB2"


def _breach(pairs: Pairs, scheme: str) -> tuple[str, int, int] | None:
    """The first tag that IOBES (BIOUL) does not allow where it stands, its sequence and its place; None if all are."""
    for (before, after), (_, i, j) in pairs.items():
        if after[0] not in LETTERS[scheme]:
            return after, i, j
        if not _neighbours((before, after), scheme):
            # either the second tag continues what is not open, or the first leaves a span without an end
            return (after, i, j) if after[0] in "IEL" and before[0] not in "BI" else (before, i, j - 1)
    return None


def _spanned(first: dict[str, tuple[int, int]], where: Callable[[int, int], str]) -> bool:
    """Whether these tags write spans.  first: every tag and where it comes first.  Raises UserError if only some do."""
    typed = [tag for tag in first if tag != "O" and parse(tag) is not None and len(tag) > 1]
    plain = [tag for tag in first if tag != "O" and tag not in typed]
    if not plain:
        return True                                               # also a file of nothing but O
    if not typed:
        return set(plain) <= set("BIESLU") and bool(set(plain) & set("BI"))
    odd, usual, like = (plain[0], typed[0], "plain") if len(plain) <= len(typed) else (typed[0], plain[0], "span")
    expected = f"a span tag such as {usual} ({where(*first[usual])})" if like == "plain" else \
        f"a plain tag such as {usual} ({where(*first[usual])})"
    raise UserError(f"{where(*first[odd])}: expected {expected}, found {odd!r}; "
                    "correct it; plain tags are of the task pos")


def _neighbours(pair: tuple[str, str], scheme: str) -> bool:
    return _allowed(_parsed(pair[0]), _parsed(pair[1]), scheme)


def _allowed(before: Parsed, after: Parsed, scheme: str) -> bool:
    """Whether the two may be neighbours; either end of a sentence counts as O."""
    same = before[1] == after[1] and before[0] in "BI"            # a span of after's type is open
    if scheme == "IOB1":
        return after[0] != "B" or same
    if scheme == "IOB2":
        return after[0] != "I" or same
    return same if after[0] in "IE" else before[0] not in "BI"


def _written(found: Iterable[Span], length: int, scheme: str) -> list[str]:
    tags = ["O"] * length
    last_kind, last_stop = "", 0
    for kind, start, stop in found:
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


def _parsed(tag: str) -> Parsed:
    parsed = parse(tag)
    if parsed is None:
        raise UserError(f"expected a span tag such as B-PER, I-PER or O, found {tag!r}; plain tags are the scheme none")
    return parsed


def _check_letters(tags: Iterable[str], scheme: str) -> None:
    for tag in tags:
        if tag[:1] not in set(LETTERS[scheme]):
            raise UserError(f"scheme: expected tags of {scheme} ({', '.join(LETTERS[scheme])}), found {tag!r}")


def _known(scheme: str) -> str:
    if scheme != "none" and scheme not in LETTERS:
        raise UserError(f"scheme: expected {', '.join(LETTERS)} or none, found {scheme!r}")
    return scheme
