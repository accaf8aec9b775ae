"""The page of a step in a headless Chromium: nothing is wrong with it, and all of it can be reached and read, also by keys."""
import re

import numpy as np
import pytest

from minixl.study.events import BACKWARD, FORWARD, OpCall
from minixl.study.page.arrays import BUDGET
from minixl.study.page.write import write_study_page
from minixl.study.texts import of_text
from tests.report.browser import MEASURE, opened
from tests.study.page.steps import STEPS, data_of, recorded, write
from tests.tiny import write_encoder
from tests.whole_runs import Quiet

LONG = " ".join("anna visited paris and ben lives in madrid with the old friend of anna who ran to a big house .".split()[:20])


@pytest.fixture(scope="module")
def pages(encoder, tmp_path_factory):
    """Name -> path, data and recording of a step's page; two have less room than their arrays need."""
    folder, small = tmp_path_factory.mktemp("pages"), {"finetune": 100_000, "linkage": 200_000}
    made = {name: write(encoder, name, folder / f"{name}.html", small.get(name, BUDGET)) for name in STEPS}
    return {name: (path, data_of(path), recorded(encoder, name)[0]) for name, path in made.items()}


def number(text):
    """A number as the page writes it."""
    return float(text.replace("−", "-"))


def numbers_of(data):
    """An event of each kind that looks different: the first and last, each op once, those with pictures, all updates."""
    first = {}
    for i, event in enumerate(data["events"]):
        first.setdefault(event.get("op", event.get("loss")), i)
    return sorted({*first.values(), len(data["events"]) - 1})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", STEPS)
def test_nothing_is_wrong(chromium, pages, name, width, scheme):
    path, data, _ = pages[name]
    page, problems = opened(chromium, path.as_uri(), width, scheme)
    for event in numbers_of(data):
        page.evaluate(f"select({event})")
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        page.wait_for_timeout(20)
        result = page.evaluate(MEASURE)
        assert result["problems"] == [], (event, data["events"][event])
        assert result["dark"] == (scheme == "dark") and result["texts"] > 40
    page.close()
    assert problems == []


def test_the_slider_reaches_every_event(chromium, pages):
    path, data, _ = pages["language-adversarial"]
    page, problems = opened(chromium, path.as_uri())
    page.focus("#slider")
    seen = []
    for _ in data["events"]:
        seen.append(page.inner_text("#position"))
        page.keyboard.press("ArrowRight")
    assert [int(text.split()[0]) for text in seen] == list(range(1, len(seen) + 1))
    assert seen[-1] == f"{len(seen)} of {len(seen)}: update by generator"
    page.keyboard.press("Home")
    assert page.inner_text("#position").startswith("1 of") and page.get_attribute("#slider", "aria-valuetext").startswith("1 of")
    page.keyboard.press("End")
    assert page.inner_text("#panel h2") == "Update by the loss generator"
    buttons = page.query_selector_all("#parts button")
    assert [button.inner_text() for button in buttons] == ["forward", "loss", "backward", "update"] * 3
    assert [button.get_attribute("aria-current") for button in buttons] == ["false"] * 11 + ["true"]
    buttons[4].press("Enter")
    first = next(i for i, event in enumerate(data["events"]) if event["kind"] == "update") + 2
    assert page.inner_text("#position").startswith(f"{first} of") and buttons[4].get_attribute("aria-current") == "true"
    assert problems == []
    page.close()


@pytest.mark.parametrize("name", ["finetune", "bilstm-crf"])
def test_keys_alone_reach_every_op_of_the_tree(chromium, pages, name):
    """From the top of the page, with Tab, and then arrow keys."""
    path, data, _ = pages[name]
    page, problems = opened(chromium, path.as_uri())
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "treeitem":
            break
    page.keyboard.press("Home")
    seen, texts = set(), set()
    for _ in range(400):
        if page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false":
            page.keyboard.press("ArrowRight")
        held = page.evaluate("document.activeElement.dataset.event")
        if held is not None:
            if len(seen) == 0:
                page.keyboard.press("Enter")
            seen.add(int(held))
            texts.add(page.inner_text("#panel .site").split(",")[0])
        before = page.evaluate("document.activeElement.getAttribute('aria-label') + document.activeElement.dataset.event")
        page.keyboard.press("ArrowDown")
        if before == page.evaluate("document.activeElement.getAttribute('aria-label') + document.activeElement.dataset.event"):
            break
    ops = {i for i, event in enumerate(data["events"]) if event["kind"] == FORWARD or event["kind"] == "helper"}
    assert seen == ops and texts >= {data["events"][i]["site"] for i in ops if not data["events"][i]["depth"]}
    assert problems == []
    page.close()


def figures_of(call, back):
    """Name -> array of what a call and its backward have."""
    found = {argument: value for argument, value in call.arguments.items() if isinstance(value, np.ndarray)}
    if isinstance(call.outputs, np.ndarray):
        found["y" if "y" not in found else "result"] = call.outputs
    for argument, value in [*back.arguments.items(), *((f"d{one}", gradient) for one, gradient in back.grads.items())]:
        if isinstance(value, np.ndarray):
            found[argument] = value
    return found


@pytest.mark.parametrize("name", ["finetune", "bilstm-crf", "linkage"])
def test_the_pointer_shows_the_value_that_numpy_holds(chromium, pages, name):
    """A few cells of every float array of some ops; the text has the index and the shortest number that is this value."""
    path, data, recording = pages[name]
    page, problems = opened(chromium, path.as_uri())
    rng, checked, cut = np.random.default_rng(1), 0, 0
    forwards = [i for i, event in enumerate(recording.events) if isinstance(event, OpCall) and event.kind == FORWARD
                and data["events"][i]["partner"] is not None and not event.depth]
    for i in rng.permutation(forwards)[:12]:
        call, back = recording.events[i], recording.events[data["events"][i]["partner"]]
        page.evaluate(f"select({i})")
        for argument, value in figures_of(call, back).items():
            canvas = page.query_selector(f'#panel figure[data-name="{argument}"] canvas')
            if canvas is None or value.dtype.kind != "f" or not value.size:
                continue
            kept = next(data["arrays"][figure[1]] for row in data["events"][i]["rows"] for kind in (FORWARD, BACKWARD)
                        for figure in row[kind] if figure[0] == argument)
            cut += kept["kept"] != kept["table"]
            canvas.scroll_into_view_if_needed()
            box = canvas.bounding_box()
            for _ in range(3):
                page.mouse.move(box["x"] + box["width"] * rng.uniform(0.3, 0.98),
                                box["y"] + box["height"] * rng.uniform(0.03, 0.97))
                match = re.match(rf"{argument}(\[.*?\])? = (\S+)", page.inner_text("#tip"))
                if match:                                              # the last line of a vector may be short
                    index = tuple(int(part) for part in (match[1] or "[]")[1:-1].split(",") if part.strip())
                    assert value.dtype.type(number(match[2])) == value[index], (call.site, argument, index)
                    checked += 1
    assert checked > 60 and (cut > 5 or name == "bilstm-crf") and problems == []
    page.close()


def test_arrow_keys_read_a_heat_map(chromium, pages):
    path, data, recording = pages["finetune"]
    i = next(i for i, event in enumerate(recording.events) if getattr(event, "site", "") == "classifier" and event.kind == FORWARD)
    page, problems = opened(chromium, f"{path.as_uri()}#{i + 1}")
    page.focus('#panel figure[data-name="y"] canvas')
    value = recording.events[i].outputs
    for keys, index in (("ArrowDown", (0, 0)), ("ArrowDown", (1, 0)), ("ArrowRight", (1, 1)), ("ArrowUp", (0, 1)),
                        ("ArrowUp", (0, 1))):
        page.keyboard.press(keys)
        text = page.inner_text("#said")
        assert text.startswith(f"y[{index[0]}, {index[1]}] = ") and value.dtype.type(number(text.split()[3])) == value[index]
    assert text.endswith("ben, B-LOC") and page.is_visible("#tip")
    page.keyboard.press("Tab")
    assert page.is_hidden("#tip") and problems == []
    page.close()


def test_attention_of_every_head(chromium, pages):
    path, data, recording = pages["finetune"]
    i = next(i for i, event in enumerate(recording.events) if getattr(event, "op", "") == "attention")
    page, problems = opened(chromium, f"{path.as_uri()}#{i + 1}")
    group = recording.events[i].cache.groups[0]
    probs = recording.events[i].cache.probs[group.scores].reshape(-1, 4, group.length, group.length)[0]
    for head in range(4):
        page.click(f'.maps button[data-head="{head}"] >> nth=0')
        canvas = page.query_selector(f'#panel canvas[aria-label^="head {head + 1}"]')
        canvas.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        text = page.inner_text("#said")
        assert text.startswith(f"head {head + 1}: probs[1, 1] = ") and np.float32(number(text.split()[5])) == probs[head, 1, 1]
    assert page.get_attribute('.maps button[data-head="3"] >> nth=0', "aria-pressed") == "true" and problems == []
    page.close()


def test_the_lattice(chromium, pages):
    path, data, recording = pages["bilstm-crf"]
    i = next(i for i, event in enumerate(data["events"]) if "lattices" in event)
    page, problems = opened(chromium, f"{path.as_uri()}#{i + 1}")
    lattice = data["events"][i]["lattices"][0]
    assert page.locator(".lattice >> nth=0 >> circle").count() == 4 * len(data["labels"])
    page.locator(".lattice >> nth=0 >> circle >> nth=1").hover()
    text = page.inner_text("#tip")
    assert text.startswith(f"{lattice['words'][0]} {data['labels'][1]}: node = 0.")
    backward = recording.events[data["events"][i]["partner"]]
    gradient = number(text.rpartition("= ")[2])
    assert gradient / 2 == pytest.approx(float(backward.outputs[0, 1]), abs=1e-6)
    page.close()
    assert problems == []


def test_updates_side_by_side(chromium, pages):
    path, data, recording = pages["language-adversarial"]
    page, problems = opened(chromium, f"{path.as_uri()}#{len(data['events'])}")
    cards = {card.get_attribute("data-loss"): card.inner_text() for card in page.query_selector_all(".card")}
    assert list(cards) == ["task", "discriminator", "generator"] and "accuracy before" in cards["discriminator"]
    rows = [[cell.inner_text().strip() for cell in row.query_selector_all("td")]
            for row in page.query_selector_all('[aria-label^="norm of the change"] tbody tr')]
    moved = {row[0]: [cell != "–" for cell in row[1:]] for row in rows}
    assert moved["discriminator"] == [False, True, False] and moved["classifier"] == [True, False, False]
    assert all(moved[f"bert.encoder.layer.{i}"] == [True, False, True] for i in range(2))
    update = recording.update_records()[2]
    moved_count = f"It moves {len(update.names)} of {len(recording.before)} parameters; none of the others moved by a bit."
    assert moved_count in page.inner_text("#panel .head")
    page.evaluate("select(EVENTS.findIndex(event => event.kind === 'update'))")
    weight = recording.update_records()[0].weights[0]
    assert f"classifier.weight[0, 1]\n{weight.before:.17g}"[:30] in page.inner_text("#panel").replace("−", "-") and problems == []
    page.close()


def test_a_failed_verdict_is_red(chromium, encoder, tmp_path, monkeypatch):
    from minixl.study.page import write as module

    real = module.verdicts_of_ops
    monkeypatch.setattr(module, "verdicts_of_ops", lambda files: {
        op: {argument: [(against, 0.5, False) if (op, argument) == ("gelu", "x") else (against, error, passed)
                        for against, error, passed in verdicts] for argument, verdicts in arguments.items()}
        for op, arguments in real(files).items()})
    path = write(encoder, "finetune", tmp_path / "page.html")
    data = data_of(path)
    i = next(i for i, event in enumerate(data["events"]) if event.get("op") == "gelu")
    page, problems = opened(chromium, f"{path.as_uri()}#{i + 1}")
    chips = page.query_selector_all('figure[data-name="dx"] .verdict')
    assert [chip.get_attribute("class") for chip in chips] == ["verdict failed"] * 2
    assert all(chip.inner_text().startswith("✗ wrong") for chip in chips)
    page.evaluate("select(6)")
    assert page.query_selector_all(".verdict") and not page.query_selector_all(".verdict.failed") and problems == []
    page.close()


def test_twelve_layers_open_quickly_and_are_small(chromium, tmp_path):
    """A sentence of 20 words, whose arrays do not fit: less than 5 MB, ready in less than 2 seconds."""
    encoder = write_encoder(tmp_path / "encoder", hidden=128, layers=12)
    with of_text(str(encoder), [(LONG, " ".join(["B-PER"] + ["O"] * 19))], reporter=Quiet()) as start:
        written = write_study_page(tmp_path / "page.html", start, title="twelve layers")
    assert written.bytes < 5e6 and written.bytes == (tmp_path / "page.html").stat().st_size
    assert written.cut > 100 and written.events > 300
    page, problems = opened(chromium, (tmp_path / "page.html").as_uri())
    seconds = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
    assert 0 < seconds < 2 and problems == []
    assert "Shown:" in page.inner_text("#panel")
    page.close()
