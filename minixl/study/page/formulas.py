"""Formulas, as the files of ops have them on top, in MathML.

    mathml("dx = rstd · (dnorm - mean(dnorm))")     <math>...</math>
    formulas(docstring)                             its indented lines, each with its pass and its equations in MathML

A line of plain text is read by a small grammar:

    line      any parts                                      two spaces or more are a wide gap
    part      fraction or operator
    fraction  atom / atom ...                                brackets around a whole numerator or denominator go
    atom      name, number, bracket, √atom, sqrt(line)       each with a subscript _i, a power ^x, ², ᵀ, and arguments (x)

Whatever is not in it, such as words of a remark, becomes names with spaces between them, and reads as it is written.
"""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from minixl.study.events import BACKWARD, FORWARD
from minixl.study.view import formula_lines

POWERS = dict(zip("²³⁴⁵⁻ᵀᵗ", "2345-Tt", strict=True))
INDICES = dict(zip("₀₁₂₃₄₅", "012345", strict=True))
TOKEN = re.compile(r"""(?P<gap>\s+)
    | (?P<subscript>_[A-Za-z0-9]+(?:[+-]1)?(?:,[a-z]+[a-z0-9]*(?:-1)?)?)
    | (?P<power>[²³⁴⁵⁻ᵀᵗ]+) | (?P<index>[₀₁₂₃₄₅]+)
    | (?P<number>\d+(?:\.\d+)?(?:e-?\d+)?) | (?P<dots>\.\.\.)
    | (?P<name>log1p|[^\W\d_]{2,}(?:-[^\W\d_]{2,})+|[^\W\d_]+'?|')          # left-to-right, h'
    | (?P<operator>>=|<=|\*\*|\+=|.)""", re.VERBOSE)
BRACKETS = {"(": ")", "[": "]"}
BIG = {"Σ", "∏"}
LETTERS = re.compile(r"[²³⁴⁵⁻ᵀᵗ₀₁₂₃₄₅]")


class Formula(NamedTuple):
    """A line of formulas."""

    kind: str                          # "forward" or "backward"; "" for what belongs to both
    parts: list[str]                   # its equations, in MathML
    remarks: list[str]                 # and what is said about them


class Token(NamedTuple):
    """A piece of the plain text."""

    kind: str
    text: str


def tokens_of(text: str) -> list[Token]:
    """Split plain text; a name ends before a power or an index, which Unicode counts as letters too."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        assert match is not None and match.lastgroup is not None
        kind, part = match.lastgroup, match[0]
        if kind == "name" and (cut := LETTERS.search(part)):
            part = part[:cut.start()]
        found.append(Token(kind, part))
        position += len(part)
    return found


def formulas(docstring: str) -> list[Formula]:
    """Return the indented lines of a docstring, each with its pass and its equations."""
    found = []
    for kind, line in formula_lines(docstring):
        text = re.sub(rf"^({FORWARD}|{BACKWARD}) +", "", line.strip())
        parts = re.split(r"\s{3,}|,\s{2,}", re.sub(r"\s+([+]?[=←])\s+", r" \1 ", text))
        equations = [mathml(part) for i, part in enumerate(parts) if not i or re.search(" [=←] ", part)]
        remarks = [mathml(part) for i, part in enumerate(parts) if i and not re.search(" [=←] ", part)]
        found.append(Formula(kind, equations, remarks))
    return found


def mathml(text: str) -> str:
    """Return a formula in one line of plain text as an element <math>."""
    return f'<math displaystyle="true">{_Parser(tokens_of(text.strip())).line("")}</math>'


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.position = tokens, 0

    def peek(self, ahead: int = 0) -> Token:
        """Return a coming token; one without text after the last."""
        place = self.position + ahead
        return self.tokens[place] if place < len(self.tokens) else Token("end", "")

    def take(self) -> Token:
        """Return the next token and go on."""
        token = self.peek()
        self.position += 1
        return token

    def line(self, closing: str) -> str:
        """Read up to a closing bracket, or to the end; the bracket stays."""
        return "".join(self.parts(closing))

    def parts(self, closing: str) -> Iterator[str]:
        """Yield the MathML of each part."""
        while self.peek().kind != "end" and not (closing and self.peek().text == closing):
            token = self.peek()
            if token.kind == "gap":
                self.take()
                yield '<mspace width="0.8em"/>' if len(token.text) > 1 else self._space()
            elif self._is_operator(token):
                yield f"<mo>{escape(_shown(self.take().text))}</mo>"
            else:
                yield self.fraction()

    def fraction(self) -> str:
        """Read an atom, and what it is divided by."""
        above, bare = self.atom()
        while self._divides():
            self.position = self._after_gap()
            self.take()
            self.position = self._after_gap()
            bare_below = self.denominator()
            above = bare = f"<mfrac>{bare}{bare_below}</mfrac>"
        return above

    def denominator(self) -> str:
        """Read what something is divided by; a sum has its summand with it."""
        whole, bare = self.atom()
        if not re.search(f"<mo>[{''.join(BIG)}]</mo>(?:<mrow>.*</mrow></msub>)?$", whole):
            return bare
        self.position = self._after_gap()
        return f"<mrow>{bare}{self.atom()[0]}</mrow>"

    def atom(self) -> tuple[str, str]:
        """Read an atom; return it, and it as a numerator or denominator, without its brackets."""
        token = self.take()
        if token.text in ("√", "sqrt") and self.peek().text in (*BRACKETS, *"√") or token.text == "√":
            root = f"<msqrt>{self.atom()[1]}</msqrt>"
            return root, root
        if token.text in BRACKETS and self._closes(BRACKETS[token.text]):
            inside = self.line(BRACKETS[token.text])
            bracket = _bracketed(inside, token.text, self.take().text)
            whole = self.scripts(bracket)
            return whole, f"<mrow>{inside}</mrow>" if whole == bracket and token.text == "(" else whole
        tag = "mn" if token.kind == "number" else "mo" if token.text in BIG or token.kind in ("operator", "dots") else "mi"
        whole = self.scripts(f"<{tag}>{escape(_shown(token.text))}</{tag}>")
        while tag == "mi" and self.peek().text in BRACKETS and self._closes(BRACKETS[self.peek().text]):
            opening = self.take().text
            inside = self.line(BRACKETS[opening])
            whole = self.scripts(f"<mrow>{whole}{_bracketed(inside, opening, self.take().text)}</mrow>")
        return whole, whole

    def scripts(self, base: str) -> str:
        """Read the subscripts and powers of a base."""
        below, above = "", ""
        while True:
            token = self.peek()
            if token.kind == "subscript" and not below:
                below = _script(self.take().text[1:])
            elif token.kind == "index" and not below:
                below = _script("".join(INDICES[character] for character in self.take().text))
            elif token.kind == "power" and not above:
                above = _script("".join(POWERS[character] for character in self.take().text))
            elif token.text == "^" and not above:
                self.take()
                above = self.atom()[1]
            else:
                break
        if below and above:
            return f"<msubsup>{base}{below}{above}</msubsup>"
        return f"<msub>{base}{below}</msub>" if below else f"<msup>{base}{above}</msup>" if above else base

    def _space(self) -> str:
        """A single space is seen only after a name or a bracket, as in `max x`; around operators MathML has its own."""
        before, after = self.tokens[self.position - 2] if self.position > 1 else Token("end", ""), self.peek()
        between = (before.text in BRACKETS.values() or not self._is_operator(before)) and not self._is_operator(after)
        return '<mspace width="0.3em"/>' if between or before.text in (",", ";", ":") else ""

    def _is_operator(self, token: Token) -> bool:
        return token.kind == "operator" and token.text not in (*BRACKETS, "√")

    def _after_gap(self) -> int:
        """Return the position after one space."""
        return self.position + (self.peek().kind == "gap" and len(self.peek().text) == 1)

    def _divides(self) -> bool:
        """Whether a division follows."""
        ahead = self._after_gap() - self.position
        return self.peek(ahead).text == "/" and self.peek(ahead + 1).kind != "end"

    def _closes(self, bracket: str) -> bool:
        """Whether this closing bracket comes."""
        return any(token.text == bracket for token in self.tokens[self.position:])


def _script(text: str) -> str:
    """Return a subscript or power in one element."""
    parts = re.findall(r"[A-Za-z]+|\d+|.", text)
    tags = ("mi" if part.isalpha() else "mn" if part.isdigit() else "mo" for part in parts)
    return f"<mrow>{''.join(f'<{tag}>{escape(_shown(part))}</{tag}>' for tag, part in zip(tags, parts, strict=True))}</mrow>"


def _bracketed(inside: str, opening: str, closing: str) -> str:
    return f"<mrow><mo>{opening}</mo>{inside}<mo>{closing}</mo></mrow>"


def _shown(text: str) -> str:
    """Return a token as it is set in mathematics."""
    return {"-": "−", "**": "^", ">=": "≥", "<=": "≤", "...": "…"}.get(text, unicodedata.normalize("NFC", text))
