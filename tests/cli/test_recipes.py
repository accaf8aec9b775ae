"""minixl train RECIPE: what --show prints, and recipes from files."""
import pytest

from minixl.methods import SCHEMA
from minixl.settings import shipped_recipes


def test_show_marks_what_differs_from_the_defaults(minixl):
    code, out, _ = minixl("train", "finetune-ner-cpu", "--show", "--set", "model.freeze=[]")
    lines = out.splitlines()
    assert code == 0 and "optim.lr = 0.0001  * default 5e-05" in lines and "model.freeze = []" in lines
    marked = {line.partition(" = ")[0] for line in lines if "  * default " in line}
    settings = SCHEMA.recipe("finetune-ner-cpu").override(["model.freeze=[]"])
    assert marked == {name for name in SCHEMA if settings[name] != SCHEMA[name].default} == set(settings.changed())


@pytest.mark.parametrize("everything", [[], ["--all"]])
@pytest.mark.parametrize("name", shipped_recipes())
def test_show_toml_is_a_recipe_with_the_same_settings(minixl, tmp_path, name, everything):
    code, out, err = minixl("train", name, "--show", "--toml", "--set", "data.limit=7", *everything)
    assert (code, err) == (0, "")
    (tmp_path / "mine.toml").write_text(out, encoding="utf-8")
    assert dict(SCHEMA.recipe(str(tmp_path / "mine.toml"))) == dict(SCHEMA.recipe(name).override(["data.limit=7"]))
    lines = [line for line in out.splitlines() if " = " in line]
    assert len(lines) == (len(SCHEMA) if everything else len(SCHEMA.recipe(name).override(["data.limit=7"]).changed()))
    assert minixl("train", tmp_path / "mine.toml", "--show", "--toml", *everything)[1].splitlines()[1:] == out.splitlines()[1:]


def test_all_and_toml_go_with_show(minixl):
    for option in ("--all", "--toml"):
        code, _, err = minixl("train", "finetune-ner", option)
        assert code == 2 and f"{option} goes with --show" in err
