"""The pages in a headless Chromium: nothing overlaps, sticks out or scrolls sideways, and all text is readable."""
import pytest

from minixl.report.page import write_page
from tests.report import browser
from tests.report.pages import write_pages

MEASURE = r"""() => {
  const problems = [];
  document.querySelectorAll('details').forEach(d => d.open = true);
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) problems.push(`page: ${root.scrollWidth} pixels wide in ${root.clientWidth}`);
  const shown = [...document.querySelectorAll('svg')].filter(s => s.getClientRects().length);
  for (const svg of shown) {
    const frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([name, a], i) => {
      if (a.left < frame.left - .5 || a.right > frame.right + .5 || a.top < frame.top - .5 || a.bottom > frame.bottom + .5)
        problems.push(`outside its SVG: ${name}`);
      if (a.height < 10) problems.push(`too small: ${name}`);
      for (const [other, b] of boxes.slice(i + 1))
        if (a.left < b.right - .5 && b.left < a.right - .5 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
          problems.push(`overlap: ${name} and ${other}`);
    });
    if (svg.getAttribute('role') !== 'img' || !/\d/.test(svg.getAttribute('aria-label'))) problems.push('no text alternative');
  }
  const parts = color => {                                   // red, green, blue and opacity, each 0 to 1
    const values = color.match(/[\d.]+/g).map(Number), unit = color.startsWith('color(') ? 1 : 255;
    return [...values.slice(0, 3).map(v => v / unit), values[3] ?? 1];
  };
  const light = rgb => {
    const [r, g, b] = rgb.map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = parts(getComputedStyle(root).backgroundColor), page = light(ground);
  const behind = element => {                                // the page, or the shade of a cell over it
    const [r, g, b, opacity] = parts(getComputedStyle(element).backgroundColor);
    return light([r, g, b].map((v, i) => v * opacity + ground[i] * (1 - opacity)));
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let node, texts = 0;
  while (node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), ink = light(parts(element.closest('svg') ? style.fill : style.color));
    const back = behind(element), contrast = (Math.max(ink, back) + .05) / (Math.min(ink, back) + .05);
    texts += 1;
    if (contrast < 4.5) problems.push(`contrast ${contrast.toFixed(2)}: ${node.textContent}`);
  }
  let level = 0;
  for (const heading of document.querySelectorAll('h1,h2,h3,h4')) {
    const next = +heading.tagName[1];
    if (next > level + 1) problems.push(`h${next} after h${level}: ${heading.textContent}`);
    level = next;
  }
  const image = getComputedStyle(root).fontSize;
  if (parseFloat(image) < 16) problems.push(`text of ${image}`);
  return {problems, plots: shown.length, texts, dark: page < .2};
}"""


@pytest.fixture(scope="module")
def chromium():
    with browser.launched() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("pages"))


def measured(chromium, path, width, scheme):
    """What is wrong with a page in a window of this width, messages of the console included, and what was measured."""
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    messages, requests = [], []
    page.on("console", lambda message: messages.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: messages.append(f"error: {error}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    result = page.evaluate(MEASURE)
    page.close()
    result["problems"] += messages + [f"loaded {url}" for url in requests if url != path.as_uri()]
    return result


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize(("name", "plots"), [
    ("languages", 3 + 14), ("seeds-few", 6), ("seeds-many", 3 + 14), ("advpicker", 5), ("documents", 0)])
def test_a_page_in_the_browser(chromium, pages, name, plots, width, scheme):
    result = measured(chromium, pages[name], width, scheme)
    assert result["problems"] == []
    assert result["plots"] == plots and result["texts"] > 100 and result["dark"] == (scheme == "dark")


@pytest.mark.parametrize(("body", "problem"), [
    ('<svg viewBox="0 0 99 50" role="img" aria-label="1"><text x="90" y="20">long text</text></svg>', "outside its SVG"),
    ('<svg viewBox="0 0 99 50" role="img" aria-label="1"><text y="20">one</text><text x="5" y="22">two</text></svg>', "overlap"),
    ('<svg viewBox="0 0 99 50" role="img" aria-label="plot"></svg>', "no text alternative"),
    ('<p style="color:#999">pale</p>', "contrast"), ('<p style="background:#345">dark on dark</p>', "contrast"),
    ("<h3>deep</h3>", "h3 after h1"),
    ('<div style="width:1500px">wide</div>', "page: 1"), ('<img src="http://localhost:9/x.png">', "loaded http"),
    ("<script>console.error('broken')</script>", "console: broken")])
def test_a_mistake_in_a_page_is_noticed(chromium, tmp_path, body, problem):
    write_page(tmp_path / "page.html", "title", [body])
    assert any(problem in found for found in measured(chromium, tmp_path / "page.html", 1200, "light")["problems"])


@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_browser_is_a_failure_where_it_is_required(monkeypatch, required, outcome):
    monkeypatch.setenv(browser.REQUIRED, required)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(outcome, match="none of chromium, .* is on PATH; install one"), browser.launched():
        pass
    monkeypatch.setattr(browser.shutil, "which", lambda command: f"/usr/bin/{command}")
    monkeypatch.setattr(browser.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(outcome, match="playwright is not installed; run: pip install"), browser.launched():
        pass
