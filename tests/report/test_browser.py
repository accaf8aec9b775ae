"""The pages in a headless Chromium: nothing overlaps, sticks out or scrolls sideways, and all text is readable."""
import pytest

from minixl.report.page import write_page
from tests.report import browser
from tests.report.browser import measured
from tests.report.pages import write_pages


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("pages"))


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
