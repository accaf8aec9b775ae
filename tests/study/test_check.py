"""Every op, model and method is checked, and every planted mistake turns a verdict red."""
import importlib
from types import ModuleType

import numpy as np
import pytest

from minixl.backend import op
from minixl.building import FAMILIES
from minixl.errors import UserError
from minixl.methods import METHODS, TERMS
from minixl.models.discriminators import DISCRIMINATORS
from minixl.models.heads import POOLINGS
from minixl.study import cases, check
from minixl.study.cases import CASES, op_modules
from minixl.study.check import Target, all_targets, check_model, check_objective, check_op, targets
from minixl.study.differences import DIFFERENCES, NO_CASE, PYTORCH, RESULT, RUNS, Row, worst
from minixl.study.models import MODELS
from minixl.study.objectives import OBJECTIVES, OPTIONS
from tests.mutants import MISTAKES, mutant
from tests.ops.mutants_lstm_crf import CRF, LSTM_STEPS, SCALED, TWO_DIRECTIONS
from tests.ops.mutants_lstm_crf import mutant as mutant_below

OTHERS = [                             # ops whose planted mistakes lie elsewhere: module, description, text, replacement
    ("average_linkage", "dy scaled twice", '{"y": cache.dy * dvalue}', '{"y": cache.dy * dvalue * dvalue}'),
    ("variational_dropout", "backward passes dy through", "dy if cache.mask is None else _apply_mask(dy, cache)", "dy"),
    ("cosine_linkage", "sign of y", "_gradient(cache.y, -dmean)", "_gradient(cache.y, dmean)"),
    ("identical_strings", "sign of y", "sum_rows(others, -dx)", "sum_rows(others, dx)"),
    ("layer_sums", "no sum in the gradient", "softmax_backward(dshares, cache.softmax)", "dshares, 0"),
    ("moment_distance", "deviation of y as of x", "-dv * (1 + v)", "-dv * (1 - v)"),
    ("moment_norms", "factor 2", "2 * variances / count", "variances / count"),
    ("relu", "backward passes dy through", "dy * (cache.y > 0)", "dy"),
    ("sampled_softmax", "accidental hits count", "probs[hits, place[hits]] = -xp.inf", "pass"),
    ("csls", "offsets added", "else -b[part])", "else b[part])"),
    ("viterbi", "no end scores", "best[steps.last] + end", "best[steps.last] + 0 * end"),
]
PLANTED = [(module.rpartition(".")[2], None, *mistake) for module, mistakes in MISTAKES.items() if module.startswith("minixl.ops.")
           for mistake in mistakes if not mistake[0].startswith("float32: ")]
PLANTED += [("lstm_steps", None, *mistake) for mistake in LSTM_STEPS if mistake[0] != "second bias ignored"]
PLANTED += [("bilstm", "minixl.ops.lstm_steps", *mistake) for mistake in LSTM_STEPS + TWO_DIRECTIONS]
PLANTED += [("crf", None, *mistake) for mistake in CRF] + [("crf_recursion", None, *mistake) for mistake in SCALED]
PLANTED += [(module, None, *mistake) for module, *mistake in OTHERS]


def verdicts(name: str, module: ModuleType, torch: bool) -> list[Row]:
    """The rows of an op with another module, as the command makes them."""
    return Target(name, "op", [name], lambda torch: check_op(name, (), torch, module)).check(torch)


@pytest.mark.parametrize("name", op_modules())
def test_every_op_passes(name):
    rows = check_op(name, op_modules()[name], True)
    assert rows and all(row.passed for row in rows), [row for row in rows if not row.passed]
    gradients = {(row.name, row.parameter) for row in rows if row.against == DIFFERENCES}
    assert gradients or name == "adamw", "an optimiser is the only op without a gradient"


@pytest.mark.parametrize(("name", "below", "what", "old", "new"), PLANTED, ids=[f"{name}: {what}" for name, _, what, *_ in PLANTED])
def test_a_planted_mistake_turns_a_verdict_red(name, below, what, old, new):
    module = mutant_below(below, old, new, f"minixl.ops.{name}") if below else mutant(f"minixl.ops.{name}", old, new)
    assert any(not row.passed for row in verdicts(name, module, True)), what


def test_a_mistake_is_planted_in_every_op():
    assert {name for name, *_ in PLANTED} == set(op_modules())


def test_central_differences_alone_notice_wrong_gradients():
    for name, old, new in (("linear", "dx = dy @ weight if", "dx = 2 * dy @ weight if"),
                           ("gelu", "cdf + x * xp.exp", "cdf + 0 * xp.exp"),
                           ("embedding", "picks @ values", "2 * (picks @ values)")):
        rows = verdicts(name, mutant(f"minixl.ops.{name}", old, new), False)
        assert any(not row.passed and row.against == DIFFERENCES for row in rows), name


def test_an_op_without_a_case_is_named(monkeypatch):
    """A new file, and a second op in a file that has a case."""
    linear = importlib.import_module("minixl.ops.linear")

    def sparse_forward(x):
        return x

    sparse_forward.__module__ = linear.__name__
    monkeypatch.setattr(linear, "sparse_forward", op(sparse_forward), raising=False)
    rows = next(target for target in all_targets() if target.name == "linear").check(False)
    assert [row for row in rows if not row.passed] == [Row("linear", "sparse_forward", NO_CASE, float("inf"))]
    monkeypatch.delitem(CASES, "gelu")
    rows = next(target for target in all_targets() if target.name == "gelu").check(False)
    assert [row.parameter for row in rows] == ["gelu_backward", "gelu_forward"] and not any(row.passed for row in rows)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_passes(name):
    rows = check_model(MODELS[name](), True)
    assert all(row.passed for row in rows), [row for row in rows if not row.passed]
    store = MODELS[name]().model.store
    for against in (DIFFERENCES, PYTORCH):
        assert set(store.names(trainable=True)) <= {row.parameter for row in rows if row.against == against}
    assert check.EMBEDDINGS in {row.parameter for row in rows}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_method_passes(name):
    case = OBJECTIVES[name]()
    rows = check_objective(case, True)
    assert all(row.passed for row in rows), [row for row in rows if not row.passed]
    for against in (DIFFERENCES, PYTORCH):
        assert {(row.name.removeprefix(f"{name}: "), row.parameter) for row in rows
                if row.against == against and row.parameter != RESULT} == {
            (loss, parameter) for loss, names in case.objective.subsets.items() for parameter in names}


def test_the_tables_are_complete():
    made = [make() for make in MODELS.values()]
    assert {case.model.family for case in made} == set(FAMILIES) and {case.model.pooling for case in made} >= set(POOLINGS)
    objectives = [make().objective for make in OBJECTIVES.values()]
    assert {options["method"] for options in OPTIONS.values()} == set(METHODS)
    losses = {loss for objective in objectives for loss in objective.losses}
    assert losses >= {loss for term in TERMS for loss in term.LOSSES}
    assert {getattr(objective.model, "discriminator", "none") for objective in objectives} >= set(DISCRIMINATORS)


def test_a_wrong_update_of_a_method_is_noticed(monkeypatch):
    """The generator's gradient with the discriminator's labels."""
    adversary = importlib.import_module("minixl.methods.adversary")
    real = adversary.languages_loss

    def wrong(logits, languages, *, flipped):
        loss = real(logits, languages, flipped=flipped)
        return loss._replace(dlogits=-loss.dlogits) if flipped else loss

    monkeypatch.setattr(adversary, "languages_loss", wrong)
    failed = {row.name for row in check_objective(OBJECTIVES["language-adversarial"](), True) if not row.passed}
    assert failed == {"language-adversarial: generator"}


def test_an_error_is_a_failure_and_so_is_nothing():
    assert not Row("op", "x", DIFFERENCES, float("nan")).passed and np.isnan(worst([0.0, float("nan")]))
    row, = Target("x", "op", ["x"], lambda torch: 1 / 0).check(False)
    assert row == Row("x", "ZeroDivisionError: division by zero", RUNS, float("inf")) and not row.passed
    assert not Target("x", "op", ["x"], lambda torch: []).check(False)[0].passed


def test_names():
    assert [target.name for target in targets(["crf"])] == ["crf"]
    assert [target.name for target in targets(["log_softmax", "transformer"])] == [
        "softmax", "transformer, token", "transformer, mean", "transformer, cls", "transformer, XLM-R"]
    assert len(targets([])) == len(op_modules()) + len(MODELS) + len(OBJECTIVES)
    with pytest.raises(UserError, match="no op, model or method 'layrnorm'; did you mean layernorm"):
        targets(["layrnorm"])
    assert cases.uncovered("softmax", ["softmax_forward", "softmax_again"]) == ["softmax_again"]
