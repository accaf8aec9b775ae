"""Walking through a recording, and what is shown of an event."""
import numpy as np
import pytest

from minixl.study import view
from minixl.study.recorder import record
from minixl.study.texts import of_text
from minixl.study.walk import Walk
from tests.whole_runs import Quiet, write_data

TEXTS = [("anna visited paris .", "B-PER O B-LOC O")]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    with of_text(str(folder / "encoder"), TEXTS, reporter=Quiet()) as start:
        return record(start.objective, 0, [("classifier.weight", (0, 1))])


def plain(text, value):
    return text


def at(recording, name):
    """A walk that stands at an event."""
    walk = Walk(recording)
    assert not walk.jump(name)
    return walk


def test_next_and_back_visit_every_op_that_no_op_calls(recording):
    walk, seen = Walk(recording), []
    assert walk.back() == "this is the first one"
    while True:
        seen.append(walk.event)
        if walk.next():
            break
    assert seen == [*recording.calls(), *recording.update_records()] and walk.next() == "this is the last one"
    back = [walk.event]
    while not walk.back():
        back.append(walk.event)
    assert back == seen[::-1]


def test_into_and_out(recording):
    walk = at(recording, "forward log_softmax")
    walk.out()
    outer = walk.event
    assert outer.op == "softmax_cross_entropy" and not walk.into()
    assert walk.event.op == "log_softmax" and walk.event.depth == 1 and walk.into() == "this calls no other op"
    assert not walk.out() and walk.event is outer
    walk.into()
    assert not walk.next() and walk.event is outer, "after the last op inside comes the op itself"
    walk = at(recording, "forward bert.encoder.layer.1.attention.self.query")
    assert not walk.out() and walk.event.site == "bert.encoder.layer.1.attention"
    assert not walk.out() and walk.event.site == "bert.encoder.layer.2.attention.self.query"


def test_jump(recording):
    walk = at(recording, "update")
    assert walk.event is recording.events[-1]
    assert not walk.jump("layer.2.GELU") and walk.event.kind == "forward"
    assert not walk.jump("layer.2.gelu") and walk.event.kind == "backward"
    position = walk.position
    assert walk.jump("crf") == "nothing has 'crf' in its name" and walk.jump(" ") and walk.position == position


def test_a_backward_shows_formula_source_arrays_and_their_numbers(recording):
    walk = at(recording, "backward bert.encoder.layer.0.output.dense")
    lines = view.describe(recording, walk.position, 110, plain)
    text = "\n".join(lines)
    assert lines[0].endswith("backward bert.encoder.layer.0.output.dense: linear") and max(map(len, lines)) <= 110
    assert "backward   dx = dy · weight,   dweight = dyᵀ · x,   dbias = Σ dy" in text and "forward    y = x" not in text
    assert "minixl/ops/linear.py:" in text and "dx = dy @ weight if need_dx else None" in text and '"""' not in text
    gradient = walk.event.grads["weight"]
    assert (f"dweight (bert.encoder.layer.0.output.dense.weight)  32×64 float32  min {gradient.min():.3g}  "
            f"mean {gradient.mean(dtype=float):.3g}") in text
    row = next(lines[i + 1] for i, line in enumerate(lines) if line.startswith("dweight"))
    assert [float(cell) for cell in row.split()[:-1]] == [float(f"{x:.3g}") for x in gradient[0, :10]] and row.endswith(" …")
    assert {"dy", "cache.x", "cache.weight", "dx", "dweight", "dbias"} == set(view.arrays_of(walk.event))


def test_a_forward_shows_its_own_formula(recording):
    lines = view.describe(recording, at(recording, "forward layer.0.attention.output.LayerNorm").position, 110, plain)
    assert any("norm     = centered · rstd" in line for line in lines) and not any("dnorm    = dy" in line for line in lines)
    assert any(line.startswith("weight (bert.encoder.layer.0.attention.output.LayerNorm.weight)") for line in lines)


def test_every_event_can_be_shown_in_a_narrow_and_low_window(recording):
    for number in range(len(recording.events)):
        for width, height in ((20, 10), (80, 24), (132, 0)):
            lines = view.describe(recording, number, width, plain, height)
            assert max(map(len, lines)) <= width, lines
            assert lines[0].startswith(f"[{number + 1}/")
    number = at(recording, "forward layer.0.gelu").position
    assert len(view.describe(recording, number, 80, plain, 20)) <= 20 < len(view.describe(recording, number, 80, plain))


def test_colour_follows_the_sign(recording):
    def mark(text, value):
        return {1: "+", -1: "-", 0: "0"}[np.sign(value)]

    assert view.number_lines(np.array([[1.5, -2.0, 0.0]]), 80, mark) == ["    +-0"]


def test_printing_an_array_or_a_slice(recording):
    event = at(recording, "backward classifier linear").event
    lines = view.printed(event, "dweight 0:2,1", 80, plain)
    assert lines[0].startswith("dweight 0:2,1  2 float32") and len(lines) == 2
    assert [float(cell) for cell in lines[1].split()] == [float(f"{x:.3g}") for x in event.grads["weight"][0:2, 1]]
    assert view.printed(event, "dbias [0]", 80, plain)[0].startswith("dbias [0]  scalar")
    for request, message in (("nothing", "no array 'nothing' here; there are dy, "), ("dbias 9", "dbias has the shape .*, got '9'"),
                             ("dbias a:b", "expected an index such as 0:3,1"), ("", "no array '' here")):
        with pytest.raises(ValueError, match=message):
            view.printed(event, request, 80, plain)


def test_an_update_shows_subset_norms_and_moments(recording):
    lines = view.describe(recording, len(recording.events) - 1, 100, plain)
    update = recording.update_records()[0]
    weight, = update.weights
    text = "\n".join(lines)
    assert f"loss {update.value:.6g}, learning rate" in text and "outside it none moved" in text
    assert f"classifier.weight[0, 1]: {weight.before:.8g} → {weight.after:.8g}, gradient {weight.gradient:.6g}" in text
    assert f"    m: 0 → {weight.moments['m'][1]:.6g}" in text and "    v: 0 → " in text
    assert view.printed(recording.events[-1], "classifier.bias", 80, plain)[0].startswith("classifier.bias  5 float32")
