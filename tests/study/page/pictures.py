"""Draw the pictures of docs/gradients.md: `python -m tests.study.page.pictures FOLDER`; pages and trained models lie in FOLDER.

A picture is an element of a page, or the top of it, in light and in dark, as docs/images/NAME-light.png and -dark.png.
"""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.report.browser import launched, opened
from tests.study.page.steps import data_of

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"
MINIXL = [sys.executable, "-m", "minixl"]
SAMPLE = [f"--{role}=en=sample/ner/en/{part}.txt" for role, part in (("source", "train"), ("dev", "dev"), ("test", "test"))]
RUNS = {"quickstart": ["train"], "crf": ["train", "bilstm-crf-ner-cpu", *SAMPLE, "--set", "train.max_steps=150"]}
SPANISH = ["--text", "Angela Merkel visitó el Museo del Prado en Madrid .",
           "--labels", "B-PER I-PER O O B-LOC I-LOC I-LOC O B-LOC O"]
ENGLISH = ["--text", "Angela Merkel visited the Prado Museum in Madrid .", "--labels", "B-PER I-PER O O B-LOC I-LOC O B-LOC O"]
STEPS = {"step": ["quickstart", *SPANISH],
         "lattice": ["crf", "--text", "The Bank of Spain praised Oxford in a letter to Maria Silva .",
                     "--labels", "O B-ORG I-ORG I-ORG O B-ORG O O O O B-PER I-PER O"],
         "updates": ["e5-small", *ENGLISH, "--method", "language-adversarial", "--target", SPANISH[1]]}
PLACES = {"step": "bert.encoder.layer.5.output.dense", "lattice": "crf", "updates": "generator"}
WIDTH, HEIGHT, TALL, MOST_COLOURS = 1280, 700, 2400, 255


def main(folder: Path) -> None:
    """Train what is not there, write the pages and draw the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sample").exists():
        subprocess.run([*MINIXL, "data", "sample", "sample"], cwd=folder, check=True)
    for name, arguments in RUNS.items():
        if not (folder / name / "metrics.json").exists():
            subprocess.run([*MINIXL, *arguments, "--out", name], cwd=folder, check=True)
    for name, arguments in STEPS.items():
        subprocess.run([*MINIXL, "study", "page", *arguments, "--out", f"{name}.html"], cwd=folder, check=True)
        with launched() as chromium:
            for scheme in ("light", "dark"):
                draw(chromium, folder / f"{name}.html", name, scheme)


def draw(chromium, path: Path, name: str, scheme: str) -> None:
    """Draw one picture."""
    events = data_of(path)["events"]
    number = next(i for i, event in enumerate(events) if PLACES[name] in (event.get("site"), event.get("loss"))
                  and (event["kind"] != "forward" or "lattices" in event))
    page, problems = opened(chromium, f"{path.as_uri()}#{number + 1}", WIDTH, scheme)
    if name == "step":                                                 # the arrays, below the time line that stays at the top
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        page.evaluate("scrollTo(0, document.querySelector('.pair').getBoundingClientRect().top + scrollY"
                      " - document.querySelector('.timeline').offsetHeight - 40)")
        page.wait_for_timeout(100)
        box = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}
    else:
        page.set_viewport_size({"width": WIDTH, "height": TALL})
        first, last = (".key", ".lattice") if name == "lattice" else (".cards", '.scroll[aria-label^="norm of the change"]')
        above, below = (page.query_selector(f"#panel {one}").bounding_box() for one in (first, last))
        box = {"x": above["x"] - 12, "y": above["y"] - 12, "width": below["width"] + 24,
               "height": below["y"] + below["height"] - above["y"] + 24}
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}-{scheme}.png", clip=box)
    page.close()
    assert not problems
    shrink(IMAGES / f"{name}-{scheme}.png")


def shrink(path: Path) -> None:
    """Save a picture with few colours."""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(MOST_COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
