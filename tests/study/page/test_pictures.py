"""The pictures of docs/gradients.md, which pictures.py draws, are small, and there is one for each colour scheme."""
import pytest
from PIL import Image

from tests.study.page.pictures import IMAGES, PLACES


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PLACES)
def test_a_picture(name, scheme):
    path = IMAGES / f"{name}-{scheme}.png"
    assert path.stat().st_size < 150_000
    with Image.open(path) as image:
        assert image.width > 800
        red, green, blue = image.convert("RGB").getpixel((3, 3))
    assert (red + green + blue) / 3 > 240 if scheme == "light" else (red + green + blue) / 3 < 40


def test_every_picture_is_drawn_by_the_script():
    assert {path.name for path in IMAGES.iterdir()} == {f"{name}-{scheme}.png" for name in PLACES for scheme in ("light", "dark")}
