"""Formulas in MathML: every op's formula is well-formed and keeps all of its characters; fractions, roots, scripts are set."""
import importlib
import inspect
import re
from xml.dom import minidom

import pytest

from minixl.study.cases import op_modules
from minixl.study.page.formulas import formulas, mathml

WRITTEN_OTHERWISE = str.maketrans({**dict(zip("²³⁴⁵⁻ᵀᵗ", "2345-Tt", strict=True)), **dict(zip("₀₁₂₃₄₅", "012345", strict=True)),
                                   "−": "-", "≥": ">", "≤": "<", "…": ".", **dict.fromkeys(" _^/√()", None)})


def bare(text):
    """The characters of a formula, in order, without those that MathML shows by position."""
    return text.replace(">=", ">").replace("<=", "<").replace("...", ".").replace("**", "").replace("sqrt", "").translate(
        WRITTEN_OTHERWISE)


def text_of(formula):
    return "".join(node.data for node in texts(minidom.parseString(formula)))


def texts(node):
    if node.nodeType == node.TEXT_NODE:
        yield node
    for child in node.childNodes:
        yield from texts(child)


@pytest.mark.parametrize("name", op_modules())
def test_every_formula_keeps_its_characters(name):
    docstring = inspect.getdoc(importlib.import_module(f"minixl.ops.{name}"))
    lines, found = [line for line in docstring.splitlines() if line.startswith("    ")], formulas(docstring)
    assert len(lines) == len(found) > 0 or not lines
    for line, formula in zip(lines, found, strict=True):
        expected = re.sub(r"^\s*(forward|backward)\s", "", line)
        parts = "".join(map(text_of, [*formula.parts, *formula.remarks]))
        assert sorted(bare(parts)) == sorted(bare(re.sub(r",\s{2,}", "  ", expected)))
        for part in formula.parts:
            assert bare(text_of(part)) in bare(expected).replace(",", "") or bare(text_of(part)) in bare(expected)


@pytest.mark.parametrize(("plain", "inside"), [
    ("1 / sqrt(mean(centered²) + eps)", "<mfrac><mn>1</mn><msqrt><mrow><mrow><mi>mean</mi>"),
    ("(a + b) / 2", "<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></mfrac>"),
    ("x_t,yt", "<msub><mi>x</mi><mrow><mi>t</mi><mo>,</mo><mi>yt</mi></mrow></msub>"),
    ("β₁ᵗ", "<msubsup><mi>β</mi><mrow><mn>1</mn></mrow><mrow><mi>t</mi></mrow></msubsup>"),
    ("e^(start_j + x_1j)", "<msup><mi>e</mi><mrow><msub><mi>start</mi><mrow><mi>j</mi></mrow></msub>"),
    ("dyᵀ · x", "<msup><mi>dy</mi><mrow><mi>T</mi></mrow></msup><mo>·</mo><mi>x</mi>"),
    ("exp(x) / Σ_j exp(x_j)", "</mrow><mrow><msub><mo>Σ</mo><mrow><mi>j</mi></mrow></msub><mrow><mi>exp</mi>"),
    ("a < b & c", "<mo>&lt;</mo><mi>b</mi><mo>&amp;</mo>"), ("left-to-right", "<mi>left-to-right</mi>"),
    ("f(x", "<mi>f</mi><mo>(</mo><mi>x</mi>"), ("a /", "<mi>a</mi><mo>/</mo>")])
def test_notation(plain, inside):
    formula = mathml(plain)
    minidom.parseString(formula)
    assert inside in formula


def test_the_pass_of_a_line():
    found = formulas("""Title.

    p = q
    forward    y = 2 x                 of the input
               z = y
    backward   dx = 2 dy,   dz = dy

    w = 1""")
    assert [line.kind for line in found] == ["", "forward", "forward", "backward", ""]
    assert [len(line.parts) for line in found] == [1, 1, 1, 2, 1] and [len(line.remarks) for line in found] == [0, 1, 0, 0, 0]
