"""A headless Chromium for the tests, and what it measures of a page.

Where MINIXL_REQUIRE_BROWSER=1, a missing Chromium is a failure, elsewhere a skipped test.
"""
from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

COMMANDS = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "MINIXL_REQUIRE_BROWSER"
FLAGS = ["--no-sandbox",                       # root has no sandbox
         "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--no-default-browser-check"]


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
  const behind = element => {                                // the page, or the shades of the elements that the text is in
    if (element === root) return ground;
    const [r, g, b, opacity] = parts(getComputedStyle(element).backgroundColor), under = behind(element.parentElement);
    return [r, g, b].map((v, i) => v * opacity + under[i] * (1 - opacity));
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let node, texts = 0;
  while (node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), ink = light(parts(element.closest('svg') ? style.fill : style.color));
    const back = light(behind(element)), contrast = (Math.max(ink, back) + .05) / (Math.min(ink, back) + .05);
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


@contextmanager
def launched() -> Iterator[Any]:
    """Start the browser that is on PATH."""
    path = next(filter(None, map(shutil.which, COMMANDS)), None)
    if path is None:
        _missing(f"none of {', '.join(COMMANDS)} is on PATH; install one (Debian: apt-get install chromium fonts-dejavu-core)")
    if importlib.util.find_spec("playwright") is None:
        _missing("playwright is not installed; run: pip install '.[test]'")
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            pytest.fail(f"{path}: expected a Chromium that starts, found: {str(error).splitlines()[0]}; install another one")
        yield browser
        browser.close()


def _missing(problem: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, but {problem}")
    pytest.skip(f"no test in a browser: {problem}")


def measured(chromium, path, width, scheme):
    """What is wrong with a page in a window of this width, messages of the console included, and what was measured."""
    page, problems = opened(chromium, path.as_uri(), width, scheme)
    result = page.evaluate(MEASURE)
    page.close()
    result["problems"] += problems
    return result


def opened(chromium, address, width=1200, scheme="light"):
    """Open a page; return it and a list of what goes wrong: messages of the console, and whatever it loads besides itself."""
    page, problems = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme), []
    page.on("console", lambda message: problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("request", lambda request: problems.append(f"loaded {request.url}"))
    page.goto(address)
    problems.remove(f"loaded {address.partition('#')[0]}")
    return page, problems
