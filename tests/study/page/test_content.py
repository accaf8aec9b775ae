"""The data of the page: events in their order and parts, arrays of the recording, names of rows, verdicts."""
import itertools

import numpy as np
import pytest

from minixl.study import cases
from minixl.study.events import BACKWARD, FORWARD, OpCall
from minixl.study.page.batches import axes_of, piece_name
from minixl.study.page import checks
from minixl.study.page.checks import verdicts_of_ops, verdicts_of_updates
from minixl.study.page.content import Content
from minixl.study.view import flat_arrays
from tests.study.page.steps import STEPS, recorded
from tests.study.page.test_arrays import unpacked


def content_of(encoder, name):
    recording, start = recorded(encoder, name)
    return Content(recording, start.tokenizer, start.objective.model.labels), recording


def runs(events):
    return [(key, len(list(group))) for key, group in itertools.groupby(event["part"] for event in events)]


def test_the_parts_of_a_step(encoder):
    events = content_of(encoder, "finetune")[0].events()
    assert [part for part, _ in runs(events)] == ["forward", "loss", "backward", "update"]
    loss = [(event["op"], event["depth"]) for event in events if event["part"] == "loss"]
    assert loss == [("log_softmax", 1), ("softmax_cross_entropy", 0)]
    parts = [part for part, _ in runs(content_of(encoder, "language-adversarial")[0].events())]
    assert parts[:4] == ["forward", "loss", "backward", "update"] and parts.count("update") == 3
    assert parts[4:10] == ["forward", "loss", "backward", "loss", "backward", "update"], "the losses of both languages"
    assert [part for part, _ in runs(content_of(encoder, "bilstm-crf")[0].events())] == ["forward", "loss", "backward", "update"]


@pytest.mark.parametrize("name", STEPS)
def test_every_array_of_every_call_is_on_the_page(encoder, name):
    content, recording = content_of(encoder, name)
    events = content.events()
    packed = content.arrays.packed(10**9)
    seen = 0
    for event, data in zip(recording.events, events, strict=True):
        if isinstance(event, OpCall) and event.kind != BACKWARD:
            shown = {figure[0]: unpacked(packed[figure[1]]) for row in data["rows"] for kind in (FORWARD, BACKWARD)
                     for figure in row[kind]}
            back = recording.events[data["partner"]] if data["partner"] is not None else None
            wanted = {argument: value for argument, value in event.arguments.items() if isinstance(value, np.ndarray)}
            if back is not None:
                assert (back.site, back.op, back.kind) == (event.site, event.op, BACKWARD)
                gradients = {f"d{argument}": gradient for argument, gradient in back.grads.items()}
                upstream = dict(list(back.arguments.items())[:1])
                wanted |= {name: value for name, value in {**gradients, **upstream}.items() if isinstance(value, np.ndarray)}
            for argument, value in wanted.items():
                np.testing.assert_array_equal(shown[argument].reshape(value.shape), value, err_msg=f"{event.site} {argument}")
                seen += 1
            if isinstance(event.outputs, np.ndarray):
                result = next(unpacked(packed[figure[1]]) for figure in data["rows"][-1][FORWARD])
                np.testing.assert_array_equal(result.reshape(event.outputs.shape), event.outputs, err_msg=event.site)
    assert seen > 50


def test_rows_and_columns_have_names(encoder):
    content, recording = content_of(encoder, "finetune")
    events = content.events()
    text = content.texts[0]
    assert text.words == ["ben", "lives", "in", "madrid", "anna", "visited", "paris", "."]        # shortest first
    assert text.starts == [0, 6, 13] and text.word_starts == [0, 4, 8]
    assert text.gold == ["B-PER", "O", "O", "B-LOC", "B-PER", "O", "B-LOC", "O"]
    assert text.tokens[6:] == ["[CLS]", "anna", "visit", "·ed", "paris", ".", "[SEP]"]
    logits = next(event for event in events if event.get("site") == "classifier")["rows"]
    assert logits[-1]["forward"][0][2:] == ["words", "tags"] and logits[0]["forward"][0][2:] == ["words", ""]
    assert logits[1]["parameter"] == "classifier.weight" and logits[1]["backward"][0][0::2] == ["dweight", "tags"]


def test_gradients_inside_dictionaries_are_shown(encoder):
    """The op inside a BiLSTM has a dictionary of gradients for each direction."""
    content, recording = content_of(encoder, "bilstm-crf")
    i = next(i for i, event in enumerate(recording.events) if event.op == "recurrent" and event.kind == BACKWARD)
    direction = recording.events[i].outputs[1][0]
    shown = flat_arrays({"dx": recording.events[i].outputs})
    assert isinstance(direction, dict) and direction
    for name, gradient in direction.items():
        np.testing.assert_array_equal(shown[f"dx.1.0.{name}"], gradient)


@pytest.mark.parametrize(("shape", "parameter", "expected"), [
    ((5, 32), False, ("tokens", "")), ((5, 32), True, ("", "")), ((3, 4), False, ("words", "tags")), ((4, 32), True, ("tags", "")),
    ((2, 7), False, ("sentences", "")), ((5,), False, ("", "tokens")), ((5, 3, 2), False, ("", "")), ((), False, ("", ""))])
def test_axes(shape, parameter, expected):
    from minixl.study.page.batches import BatchText

    text = BatchText(list("abcde"), list("xyz"), [0, 2, 5], [0, 1, 3], [])
    assert axes_of(np.zeros(shape), text, ["O", "B-A", "I-A", "B-B"], parameter=parameter) == expected


def test_names_of_pieces():
    assert [piece_name(piece, True) for piece in ("▁the", "ing", "▁")] == ["the", "·ing", "▁"]
    assert [piece_name(piece, False) for piece in ("the", "##ing", "[UNK]")] == ["the", "·ing", "[UNK]"]


def test_verdicts(encoder, monkeypatch):
    found = verdicts_of_ops(["linear", "softmax"])
    assert {"linear", "softmax", "log_softmax"} == set(found) and {"x", "weight", "bias"} <= set(found["linear"])
    assert {against for against, _, _ in found["linear"]["weight"]} == {"central differences", "PyTorch"}
    assert all(passed and error < 1e-6 for verdicts in found["linear"].values() for _, error, passed in verdicts)
    real = cases.make_cases

    def doubled(name, module=None):
        made = real(name, module)
        for case in made:
            case.backward = lambda dy, cache, backward=case.backward: (2 * backward(dy, cache)[0], backward(dy, cache)[1])
        return made

    monkeypatch.setattr("minixl.study.check.make_cases", doubled)
    checks._rows.cache_clear()
    wrong = verdicts_of_ops(["linear"])["linear"]
    checks._rows.cache_clear()
    assert not any(passed for _, _, passed in wrong["x"]) and all(passed for _, _, passed in wrong["weight"])


def test_verdicts_of_updates(encoder):
    for name, losses in (("language-adversarial", ["task", "discriminator", "generator"]), ("bilstm-crf", ["task"]),
                         ("linkage", ["task", "average linkage"])):
        _, start = recorded(encoder, name)
        found = verdicts_of_updates(start.objective.settings, losses)
        assert list(found) == losses
        assert all(verdicts and all(passed for _, _, passed in verdicts) for verdicts in found.values())
