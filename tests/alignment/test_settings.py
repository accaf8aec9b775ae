"""Every setting of minixl align is read by some code and explained in docs/alignment.md; the size for CPUs is valid."""
import re
from pathlib import Path

import pytest

from minixl.alignment.settings import SCHEMA, SIZES
from minixl.cli.align import align

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", SCHEMA)
def test_every_setting_is_read_and_documented(name):
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "minixl" / "alignment").glob("*.py"))
    assert len(re.findall(f'"{re.escape(name)}"', code)) >= 2, f"{name} is declared, but nothing reads it"
    setting = SCHEMA[name]
    default = ",".join(setting.default) if isinstance(setting.default, list) else str(setting.default).lower()
    row = f"| `{name}` | {default} | {setting.help}{': ' + ', '.join(setting.choices) if setting.choices else ''} |"
    assert row in (ROOT / "docs" / "alignment.md").read_text(encoding="utf-8")


def test_sizes():
    assert SIZES.keys() == set(next(option for option in align.params if option.name == "size").type.choices)
    for assignments in SIZES.values():
        SCHEMA.settings().override(assignments)
