"""Planted mistakes: text to replace in the source of a module, to show that its tests notice.

`mutant(module, old, new)` returns the changed module.  With `entry`, a module that imports it, it compiles and returns
`entry` with the changed module, so that a test of an op can catch a mistake in a helper.
"""
import importlib
import sys
from pathlib import Path
from types import ModuleType

LSTM_STEPS = [
    ("forgets the recurrent product", "gate += xp.matmul", "_ = xp.matmul"),
    ("sigmoid without its half", "halves[[0, 1, 3]] = 0.5", "halves[[0, 1, 3]] = 1.0"),
    ("gates in another order", "i, f, g, o = (gate[...", "f, i, g, o = (gate[..."),
    ("no tanh in the output", "xp.tanh(c, out=", "xp.add(c, 0, out="),
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
    ("final state ignored", "dstates[d, step.last] += dfinal", "dstates[d, step.last] += 0 * dfinal"),
    ("final state of another sentence", "final[step.order, own] =", "final[:len(step.last), own] ="),
    ("second bias ignored", "cell.bias + cell.bias_hh", "cell.bias"),
    ("everything zero", "return dx, grads", "return 0 * dx, grads"),
]
TWO_DIRECTIONS = [
    ("gradient of x of one direction", "dx[step.rows] += part", "dx[step.rows] = part"),
    ("tied gradients not added", "else range(len(cache.steps))", "else [0]"),
]
CRF = [
    ("probabilities instead of marginals minus gold", "] -= 1", "] -= 0"),
    ("sign of the gradient", "node[xp.arange(len(node)), cache.tags] -= 1\n    node *=",
     "node[xp.arange(len(node)), cache.tags] -= 1\n    node *= -1; node *="),
    ("gradient not weighted by dy", "node *= weight[:, None]", "pass"),
    ("gold transitions forgotten", "edges -= ", "_ = "),
    ("gold transitions not weighted", "(inside * weight[1:])", "inside"),
    ("gold pair the other way round", "(one_hot[:-1] * (inside * weight[1:])[:, None]).T @ one_hot[1:]",
     "((one_hot[:-1] * (inside * weight[1:])[:, None]).T @ one_hot[1:]).T"),
    ("pairs across sentences", "inside = owner[1:] == owner[:-1]", "inside = owner[1:] >= owner[:-1]"),
    ("start gradient of the last token", "node[first].sum", "node[last].sum"),
    ("end gradient of the first token", "node[last].sum", "node[first].sum"),
    ("gold score without start", "terms[first] += start", "terms[first] += 0 * start"),
    ("gold score without end", "terms[last] += end", "terms[last] += 0 * end"),
    ("gold score across sentences", "xp.where(owner[1:] == owner[:-1], transitions[tags[:-1], tags[1:]], 0)",
     "transitions[tags[:-1], tags[1:]]"),
    ("score without log Z", "(log_partition - gold)", "(0 * log_partition - gold)"),
]
SCALED = [
    ("transposed transitions", "after - now] @ moves", "after - now] @ moves.T"),
    ("transposed on the way back", "xp.ascontiguousarray(moves.T)", "moves"),
    ("largest transition forgotten", "moves * top", "0 * top"),
    ("largest start forgotten", "+ first + last", "+ last"),
    ("largest emission forgotten", "astype(xp.float64) + largest[:, 0]", "astype(xp.float64)"),
    ("end forgotten in the marginals", "beta[steps.last] = finish", "beta[steps.last] = 0 * finish + 1"),
    ("edges without weight", "onward[first:] * weight[first:, None]", "onward[first:]"),
    ("edges without transition", "edges = moves * (", "edges = ("),
    ("edges of the same token", "alpha[steps.before].T", "alpha[first:].T"),
    ("not divided by the sums", "emitted /= total", "pass"),
]
LOGARITHMIC = [
    ("transposed transitions", "[:, :, None] + moves", "[:, :, None] + moves.T"),
    ("transposed on the way back", "onward = moves +", "onward = moves.T +"),
    ("start forgotten", "+= scores.start", "+= 0 * scores.start"),
    ("end forgotten", "log_sum(alpha[steps.last] + scores.end", "log_sum(alpha[steps.last]"),
    ("end forgotten in the marginals", "beta[steps.last] = scores.end", "beta[steps.last] = 0"),
    ("edges without weight", "xp.tensordot(weight[now:after], edge", "xp.tensordot(xp.ones_like(weight[now:after]), edge"),
    ("edges without emission", "onward = scores.emissions[steps.rows] + beta", "onward = beta"),
    ("unstable sum", "largest = xp.where(xp.isfinite(largest), largest, 0)", "largest = 0 * largest"),
]
CHAR_LSTM = [
    ("a word gets the gradient of its last token only", "dfinal[tokens.rows] = tokens.values",
     "dfinal[cache.word_of] = dy"),
    ("no gradient", "(None, dfinal)", "(None, 0 * dfinal)"),
    ("words mixed up", "return final[word_of]", "return final[xp.sort(word_of)]"),
    ("repeated characters not added", 'embedding_backward(dx, cache.embedding)[1]',
     '{"weight": __import__("minixl.ops.embedding").ops.embedding.RowSparse(cache.embedding.ids, dx)}'),
]


def mutant(module: str, old: str, new: str, entry: str | None = None) -> ModuleType:
    """Compile `module` with `old`, which must occur in it, replaced by `new`; return it, or `entry` compiled with it."""
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
    result = ModuleType(f"{name}_mutant")
    sys.modules[result.__name__] = result                              # typing.NamedTuple looks its module up
    exec(compile(source, result.__name__, "exec"), result.__dict__)
    return result
