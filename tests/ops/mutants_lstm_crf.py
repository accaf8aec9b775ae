"""Planted mistakes: a module compiled again with one piece of its source replaced, to show that the tests notice.

`mutant(module, old, new)` returns the changed module.  With `entry` the change is made in one module and the module
that imports it is compiled anew and returned, so that a mistake in a helper is seen through the op that uses it.
"""
import importlib
import sys
from pathlib import Path
from types import ModuleType

LSTM_STEPS = [
    ("forgets the recurrent product", "gate += xp.matmul", "_ = xp.matmul"),
    ("sigmoid without its half", "halves[[0, 1, 3]] = 0.5", "halves[[0, 1, 3]] = 1.0"),
    ("gates in another order", "i, f, g, o = (gate[...", "f, i, g, o = (gate[..."),
    ("no tanh in the output", "xp.tanh(c, out=cell_tanh[:, here])", "c"),
    ("dh without the later step", "dh[:, :following] += xp.matmul", "_ = xp.matmul"),
    ("dc without the later step", "dc *= cache.gates[:, here, size:2 * size]", "dc *= 0"),
    ("dc kept without the forget gate", "        dc *= cache.gates[:, here, size:2 * size]\n", ""),
    ("derivative of tanh", "o, 1 - squashed * squashed", "o, 1 - squashed"),
    ("derivative of the input gate", "g, i * (1 - i)", "g, i * i"),
    ("derivative of the forget gate", "f * (1 - f), out=to_f", "f, out=to_f"),
    ("derivative of the candidate", "i, 1 - g * g", "i, 1 + g * g"),
    ("derivative of the output gate", "o * (1 - o), out=to_o", "o * o, out=to_o"),
    ("cell state of the same step", "= cache.cell[:, before]", "= cache.cell[:, first:]"),
    ("hidden state of the same step", "cache.hidden[:, before], first", "cache.hidden[:, first:], first"),
    ("final state ignored", "grown[d, step.last] += dfinal", "grown[d, step.last] += 0 * dfinal"),
    ("final state of another sentence", "final[step.order, own] =", "final[:len(step.last), own] ="),
    ("second bias not given", "cell.bias + cell.bias_hh", "cell.bias"),
    ("everything zero", "return dx, grads", "return 0 * dx, grads"),
]
TWO_DIRECTIONS = [
    ("gradient of x of one direction", "dx[step.rows] += part", "dx[step.rows] = part"),
    ("tied gradients not added", "else range(len(cache.steps))", "else [0]"),
]
CRF = [
    ("mean instead of marginals minus gold", "node[xp.arange(len(node)), cache.tags] -= 1", "pass"),
    ("gradient not weighted by dy", "node *= weight[:, None]", "pass"),
    ("gold transitions forgotten", "edges -= ", "_ = "),
    ("gold edges across sentences", "inside = owner[1:] == owner[:-1]", "inside = owner[1:] == owner[1:]"),
    ("start gradient of the last token", "node[first]", "node[last]"),
    ("end gradient of the first token", "node[last]", "node[first]"),
    ("gold score without start", "score[filled] += start[tags[first]]", "pass"),
    ("gold score without end", "score[filled] += end[tags[last]]", "pass"),
]
CRF_RECURSION = [
    ("scaled: transposed transitions", "alpha[before:before + after - now] @ moves", "alpha[before:before + after - now] @ moves.T"),
    ("scaled: transposed on the way back", "@ moves.T, out", "@ moves, out"),
    ("scaled: no end", "moves, begin, finish = ", "moves, begin, finish = 1 * "),
    ("scaled: edges without weight", "* weight[steps.rows][first:, None]", "* 1"),
    ("scaled: largest transition forgotten", "+ (lengths - 1) * top", "+ 0 * top"),
    ("logarithmic: transposed", "into = alpha[before:before + after - now][:, :, None] + moves", "into = alpha[before:before + after - now][:, :, None] + moves.T"),
]


def mutant(module: str, old: str, new: str, entry: str | None = None) -> ModuleType:
    """`module` with `old` replaced by `new` (old must be there), or `entry` as it is when it imports that."""
    source = _source(module)
    assert old in source, f"{module} no longer contains {old!r}: adapt the planted mistake"
    changed = _compile(module, source.replace(old, new))
    if entry is None:
        return changed
    original = importlib.import_module(module)
    sys.modules[module] = changed
    try:
        return _compile(entry, _source(entry))
    finally:
        sys.modules[module] = original


def _source(module: str) -> str:
    return Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8")


def _compile(name: str, source: str) -> ModuleType:
    made = ModuleType(f"{name}_mutant")
    sys.modules[made.__name__] = made                                  # typing.NamedTuple looks its module up
    exec(compile(source, made.__name__, "exec"), made.__dict__)
    return made
