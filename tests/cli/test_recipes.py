"""minixl train RECIPE: what --show prints, and recipes from files."""
import pytest

from minixl.methods import SCHEMA
from minixl.settings import shipped_recipes
from minixl.training.config import read_config
from tests.whole_runs import write_data


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
        assert code == 2 and f"{option} needs --show" in err


def test_help_lists_the_recipes(minixl):
    code, out, _ = minixl("train", "--help")
    words = " ".join(out.partition("\nRecipes:\n")[2].split())
    assert code == 0
    for name, path in shipped_recipes().items():
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert f"{name} {title}" in words and title.endswith(".") and title[:1] != "#"


@pytest.mark.parametrize("setting, shown", [("linkage.level=sentence", True), ("adversary.level=token", True),
                                            ("perturbation.kind=random", False)])
def test_show_has_a_setting_that_two_terms_read(minixl, setting, shown):
    assert ("adversary.target_size" in minixl("train", "finetune-ner-cpu", "--show", "--set", setting)[1]) == shown


def test_show_without_a_recipe_says_which_it_shows(minixl):
    assert minixl("train", "--show")[2].splitlines()[0] == "no recipe named: these are the settings of quickstart"
    assert "quickstart" not in minixl("train", "finetune-ner", "--show")[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def first_run(minixl, folder, tmp_path):
    """A finished run of one step in `tmp_path`/first."""
    code, _, err = minixl("train", "finetune-ner-cpu", "--encoder", folder / "encoder", "--source", f"en={folder}/en.txt",
                          "--test", f"en={folder}/en.txt", "--set", "train.max_steps=1", "--set", "data.max_length=32",
                          "--set", "model.freeze=[]", "--seed", 5, "--out", tmp_path / "first")
    assert code == 0, err
    return tmp_path / "first"


def test_a_run_is_repeated(minixl, first_run, tmp_path):
    """From its folder and from its config.toml; the same config.toml, the same log."""
    for recipe, out in ((first_run, tmp_path / "second"), (first_run / "config.toml", tmp_path / "third")):
        code, _, err = minixl("train", recipe, "--out", out)
        assert code == 0, err
        assert (out / "config.toml").read_text() == (first_run / "config.toml").read_text()
        assert (out / "log.jsonl").read_text() == (first_run / "log.jsonl").read_text()
    text = minixl("train", first_run, "--show", "--toml")[1]
    assert text.splitlines()[1:] == minixl("train", first_run / "config.toml", "--show", "--toml")[1].splitlines()[1:]


def test_arguments_replace_those_of_the_repeated_run(minixl, first_run, folder, tmp_path):
    code, _, err = minixl("train", first_run, "--test", f"es={folder}/es.txt", "--seed", 6, "--set", "optim.lr=2e-4",
                          "--out", tmp_path / "second")
    assert code == 0, err
    settings, inputs, seed = read_config(tmp_path / "second", SCHEMA)
    before, old_inputs, _ = read_config(first_run, SCHEMA)
    assert seed == 6 and inputs.test == [("es", folder / "es.txt")] and inputs.source == old_inputs.source
    assert dict(settings) == {**before, "optim.lr": 2e-4} and inputs.encoder == old_inputs.encoder


def test_a_run_that_cannot_be_repeated(minixl, first_run, tmp_path):
    code, _, err = minixl("train", first_run)
    assert code == 2 and "--out FOLDER is missing; repeating a run needs a new folder" in err
    (tmp_path / "empty").mkdir()
    code, _, err = minixl("train", tmp_path / "empty", "--out", tmp_path / "x")
    assert (code, err) == (1, f"Error: recipe '{tmp_path}/empty': expected a run folder with config.toml, found a folder without; "
                              "name a recipe or a run\n")
    (tmp_path / "seeds").mkdir()
    first_run.rename(tmp_path / "seeds" / "seed-5")
    code, _, err = minixl("train", tmp_path / "seeds", "--out", tmp_path / "x")
    assert (code, err) == (1, f"Error: {tmp_path}/seeds: holds runs of several seeds; say how many to repeat with --seeds K, or "
                              "choose one with --seed N\n")
    assert minixl("train", tmp_path / "seeds", "--seed", 5, "--out", tmp_path / "x")[0] == 0
    config = tmp_path / "x" / "config.toml"
    config.write_text(config.read_text().replace("[linkage]\ndistance = \"average-linkage\"", "[alignment]"))
    code, _, err = minixl("train", config, "--out", tmp_path / "y")
    assert code == 1 and err.startswith(f"Error: {config}: alignment.level has a new name: linkage.level")
    config.write_text('seed = 1\n[inputs]\nsource = ["en"]\n')
    code, _, err = minixl("train", config, "--out", tmp_path / "y")
    assert code == 1 and err.startswith(f"Error: {config}: expected the seed and the inputs of a run as minixl wrote them")
