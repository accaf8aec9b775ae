"""Planted mistakes: text to replace in the source of a module, to show that its tests notice.

A model with a wrong backward pass often still trains.  Each entry is a realistic mistake: (description, text, replacement).
`mutant` compiles the module with the mistake under another name; tests/test_mutants.py requires that the comparison of
the module's own test then fails.
"""
import importlib
import sys
from pathlib import Path
from types import ModuleType

Mistake = tuple[str, str, str]

MISTAKES: dict[str, list[Mistake]] = {
    "minixl.ops.linear": [
        ("no bias", "y[rows] += bias", "pass"),
        ("bias gradient is a mean", '"bias": ones @ dy', '"bias": ones @ dy / len(dy)'),
        ("dx doubled", "dx = dy @ weight if", "dx = 2 * dy @ weight if"),
        ("weight gradient is zero", '"weight": dy.T @ x', '"weight": 0 * (dy.T @ x)'),
        ("weight gradient from |x|", "dy.T @ x,", "dy.T @ abs(x),"),
    ],
    "minixl.ops.embedding": [
        ("overwrites instead of sums", "picks @ values", "values[order][first]"),
        ("sums in the order of the text", "values.dtype), order, np.append", "values.dtype), np.arange(len(ids)), np.append"),
        ("values of distinct ids not sorted", "return RowSparse(ordered, values[order])", "return RowSparse(ordered, values)"),
        ("mean instead of sum", "picks @ values", "picks @ values / 2"),
    ],
    "minixl.ops.layernorm": [
        ("dx is zero", "dnorm *= rstd[rows]", "dnorm *= 0"),
        ("mean term dropped", 'dnorm -= xp.einsum("th,h->t", dnorm, mean)[:, None]', "pass"),
        ("projection term dropped", "dnorm -= norm[rows] * slope[:, None]", "pass"),
        ("rstd forgotten", "dnorm *= rstd[rows]", "pass"),
        ("sign of the projection", "dnorm -= norm[rows] * slope", "dnorm += norm[rows] * slope"),
        ("factor 2", "dnorm *= rstd[rows]", "dnorm *= 2 * rstd[rows]"),
        ("weight forgotten in dx", "xp.multiply(dy[rows], weight, out=dnorm)", "dnorm[...] = dy[rows]"),
        ("weight gradient from x instead of norm", 'xp.einsum("th,th->h", dy, norm)', 'xp.einsum("th,th->h", dy, norm / rstd)'),
        ("weight gradient is a mean", 'xp.einsum("th,th->h", dy, norm)', 'xp.einsum("th,th->h", dy, norm) / len(dy)'),
        ("weight gradient plus weight", 'xp.einsum("th,th->h", dy, norm)', 'xp.einsum("th,th->h", dy, norm) + weight'),
        ("weight forgotten in the projection", '"th,th->t", dnorm, norm[rows])', '"th,th->t", dy[rows], norm[rows])'),
        ("eps forgotten", "/ hidden + eps)", "/ hidden + 0 * eps + 1e-30)"),
        ("variance with H - 1", "/ hidden + eps", "/ max(hidden - 1, 1) + eps"),
        ("bias forgotten", "out += bias", "pass"),
    ],
    "minixl.ops.gelu": [
        ("slope without the density", "slope[...] = cdf + x * xp.exp(-0.5 * x * x) / sqrt(2 * pi)", "slope[...] = cdf"),
        ("density without √(2π)", "/ sqrt(2 * pi)\n", "\n"),
        ("erf without √2", "_erf(xp)(x / sqrt(2))", "_erf(xp)(x)"),
        ("cdf not halved", "cdf = 0.5 * (1", "cdf = 1.0 * (1"),
        ("backward forgets dy", "xp.multiply(dy[rows], cache.slope[rows]", "xp.multiply(1, cache.slope[rows]"),
        ("the tanh approximation", "cdf = 0.5 * (1 + _erf(xp)(x / sqrt(2)))",
         "cdf = 0.5 * (1 + xp.tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))"),
        ("float32: a wrong digit", "1.421413741", "1.421513741"),
        ("float32: sign of x lost", "bits ^= u.view(np.uint32)", "y[...] = u"),
        ("float32: slope without the density", "slope *= x\n", "slope *= 0\n"),
        ("float32: y of positive x alone", "tail *= size\n", "tail *= x > 0\n"),
    ],
    "minixl.ops.dropout": [
        ("not scaled", "xp.multiply(x[rows], cache.scale, out=y[rows])", "y[rows] = x[rows]"),
        ("mask forgotten", "y[rows] *= mask[rows]", "pass"),
        ("backward passes dy through", "dy if cache.mask is None else _apply_mask(dy, cache)", "dy"),
        ("scale of the dropped share", "LEVELS / (LEVELS - round(p * LEVELS))", "LEVELS / round(p * LEVELS)"),
    ],
    "minixl.ops.softmax": [
        ("softmax: no sum in the gradient", "dx -= probs * dx.sum(axis=-1, keepdims=True)", "pass"),
        ("softmax: sum over rows", "dx -= probs * dx.sum(axis=-1, keepdims=True)", "dx -= probs * dx.sum(axis=0, keepdims=True)"),
        ("softmax: dprobs taken for dlogits", "dx = dprobs * probs", "return dprobs, {}"),
        ("log-softmax: the largest of all rows", "row_maxima(scores[rows])", "scores[rows].max(axis=0)"),
        ("log-softmax: no sum in the gradient", "dy - xp.exp(cache.log_probs) * dy.sum(axis=-1, keepdims=True)", "dy"),
        ("log-softmax: log-probabilities for probabilities", "xp.exp(cache.log_probs) * dy", "cache.log_probs * dy"),
    ],
    "minixl.ops.masked_softmax_dropout": [
        ("entries beyond the length count", "xp.where(valid, x, -xp.inf)", "xp.where(valid | True, x, -xp.inf)"),
        ("length off by one", "xp.arange(x.shape[1]) < valid[:, None]", "xp.arange(x.shape[1]) <= valid[:, None]"),
        ("softmax over the rows", "total = probs.sum(axis=1, keepdims=True)", "total = probs.sum(axis=0, keepdims=True)"),
        ("no sum in the gradient", "dx -= cache.probs * dx.sum(axis=1, keepdims=True)", "pass"),
        ("gradient without dropout", "dx = _dropout(dy, cache) * cache.probs", "dx = dy * cache.probs"),
        ("probabilities after dropout in the cache",
         "return _dropout(probs, cache), cache", "return _dropout(probs, cache), cache._replace(probs=_dropout(probs, cache))"),
        ("not scaled", " * x.dtype.type(cache.scale)", ""),
        ("mask forgotten", "x * cache.mask *", "x *"),
    ],
    "minixl.ops.softmax_cross_entropy": [
        ("gold class not subtracted", "out[xp.arange(len(out)), gold[rows]] -= 1", "pass"),
        ("unscored rows counted in the loss", "(gold * scored).sum()", "gold.sum()"),
        ("mean over all rows", "max(int(scored.sum()), 1)\n    return loss", "len(labels)\n    return loss"),
        ("gradient of unscored rows", "shares = (scored * (dloss", "shares = ((labels > -999) * (dloss"),
        ("gradient is a sum", "(dloss / max(int(scored.sum()), 1))", "dloss"),
        ("dloss forgotten", "(dloss / max", "(1 / max"),
    ],
    "minixl.ops.binary_cross_entropy": [
        ("gradient not averaged", "(dloss / logits.size)", "dloss"),
        ("sign", "(sigmoid(logits) - targets)", "(targets - sigmoid(logits))"),
        ("targets flipped in the loss", "targets * logits).mean()", "(1 - targets) * logits).mean()"),
        ("sigmoid of 2x", "xp.tanh(0.5 * x)", "xp.tanh(x)"),
        ("softplus without its maximum", "xp.maximum(logits, 0) + ", ""),
    ],
    "minixl.ops.soft_squared_error": [
        ("factor 2 forgotten", "2 * dloss", "dloss"),
        ("mean over rows only", "2 * dloss / cache.difference.size", "2 * dloss / len(cache.difference)"),
        ("gradient stops at the probabilities",
         "softmax_backward(cache.difference", "(lambda dprobs, _: (dprobs, {}))(cache.difference"),
    ],
    "minixl.ops.mean_pooling": [
        ("sum instead of mean", "return total / xp.asarray(lengths, x.dtype)[:, None]", "return total"),
        ("gradient not divided", "xp.repeat(dy / xp.asarray(lengths, dy.dtype)[:, None]", "xp.repeat(dy"),
        ("mean over the batch's longest", "total / xp.asarray(lengths, x.dtype)[:, None]", "total / lengths.max()"),
    ],
    "minixl.ops.attention": [
        ("no scale", "query * query.dtype.type(1 / sqrt(query.shape[1] // heads))", "query * 1.0"),
        ("scale of H instead of D", "query.dtype.type(1 / sqrt(query.shape[1] // heads))",
         "query.dtype.type(1 / sqrt(query.shape[1]))"),
        ("dquery not scaled", "dquery *= scale", "pass"),
        ("dkey scaled twice", "dk[...] = dp.swapaxes(2, 3) @ q", "dk[...] = dp.swapaxes(2, 3) @ q * scale"),
        ("scores transposed", "xp.matmul(q, k.swapaxes(2, 3), out=p)", "xp.matmul(k, q.swapaxes(2, 3), out=p)"),
        ("dvalue transposed", "_kept(p, group, cache).swapaxes(2, 3) @ dc", "_kept(p, group, cache) @ dc"),
        ("dkey transposed", "dp.swapaxes(2, 3) @ q", "dp @ q"),
        ("softmax over the queries", 'p /= xp.einsum("nalk->nal", p)[..., None]', 'p /= xp.einsum("nakl->nal", p)[..., None, :]'),
        ("the wrong side visible", "later if visible == BEFORE else later.T", "later.T if visible == BEFORE else later"),
        ("a word does not see itself", "places[None, :] > places[:, None]",
         "(places[None, :] >= places[:, None]) & (places[:, None] > 0)"),
        ("all words visible", "if visible != ALL:", "if False:"),
        ("softmax's projection dropped", 'dp -= xp.einsum("nalk,nalk->nal", dp, p)[..., None]', "pass"),
        ("probabilities dropped", "dp *= p  ", "pass"),
        ("dropout mask dropped forward", "    if cache.mask is None:\n        return probs", "    return probs"),
        ("dropout mask dropped backward", "dp *= cache.mask[group.scores].reshape(p.shape)", "pass"),
        ("dropout scale dropped forward", "context *= context.dtype.type(cache.scale)", "pass"),
        ("dropout scale dropped backward", "dcontext = dcontext * dcontext.dtype.type(cache.scale)", "pass"),
        ("dvalue without dropout", "_kept(p, group, cache).swapaxes(2, 3) @ dc", "p.swapaxes(2, 3) @ dc"),
        ("sentences of one length mixed", "reshape(-1, group.length, heads, array.shape[1] // heads).swapaxes(1, 2)",
         "reshape(group.length, -1, heads, array.shape[1] // heads).transpose(1, 2, 0, 3)"),
    ],
    "minixl.ops.adamw": [
        ("first moment not corrected", "number(lr / (1 - beta1 ** steps))", "number(lr)"),
        ("second moment not corrected", "number(1 / sqrt(1 - beta2 ** steps))", "number(1)"),
        ("correction one step late", "number(lr / (1 - beta1 ** steps))", "number(lr / (1 - beta1 ** (steps + 1)))"),
        ("eps forgotten", "scratch += number(eps)", "scratch += number(1e-30)"),
        ("eps before the correction", "scratch += number(eps)", "scratch += number(eps / sqrt(1 - beta2 ** steps))"),
        ("decay goes through the moments", "value *= number(1 - lr * weight_decay)", "grad = grad + weight_decay * value"),
        ("decay without the learning rate", "value *= number(1 - lr * weight_decay)", "value *= number(1 - weight_decay)"),
        ("no decay", "value *= number(1 - lr * weight_decay)", "pass"),
        ("second moment of |g|", "xp.multiply(grad, grad, out=scratch)", "scratch = abs(grad)"),
        ("betas exchanged", "number(1 - beta1)", "number(1 - beta2)"),
    ],
    "minixl.optim": [
        ("the schedule is one step ahead", "factor = self.schedule(self.steps)", "factor = self.schedule(self.steps + 1)"),
        ("idle rows of a table keep their value", "if group.weight_decay and lr and len(rows) < len(active):", "if False:"),
        ("rows without a gradient not updated", "rows = xp.flatnonzero(active)\n        if group",
         "rows = xp.flatnonzero(active) if parameter.grad is None else parameter.grad.rows\n        if group"),
        ("moments of a table not kept", "state[key][rows] = moment", "pass"),
        ("clipping: the norm of each parameter", "total + (values @ values)", "(values @ values)"),
        ("clipping: tables forgotten", "for grad in tables if grad is not None", "for grad in ()"),
        ("clipping: scaled up as well", "if limit < norm < inf:", "if True:"),
    ],
}


def mutant(module: str, old: str, new: str) -> ModuleType:
    """Compile `module` with `old` replaced by `new`.  `old` must occur in it, and the source must change."""
    source = Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8")
    assert old in source, f"{module} no longer contains {old!r}: adapt the planted mistake"
    changed = source.replace(old, new)
    assert changed != source
    result = ModuleType(f"{module}_mutant")
    sys.modules[result.__name__] = result                              # NamedTuple and dataclass look their module up
    exec(compile(changed, f"{result.__name__}.py", "exec"), result.__dict__)
    return result
