"""Settings: types, choices, limits, overrides, the round trip through TOML, the shipped recipes, and every error text."""
import tomllib

import pytest

from minixl.errors import UserError
from minixl.methods import SCHEMA
from minixl.settings import flatten, shipped_recipes

EPOCHS = " (passes over the labelled source sentences, or over the text that the method's last stage learns from)"


def test_defaults_are_valid():
    for name, setting in SCHEMA.items():
        assert SCHEMA.settings({name: setting.default})[name] == setting.default, name
        assert setting.help
    assert list(SCHEMA.settings({})) == list(SCHEMA) and len(SCHEMA.settings({})) == len(SCHEMA)


@pytest.mark.parametrize("assignment, name, value", [
    ("train.epochs=7", "train.epochs", 7), (" optim.lr = 1e-3 ", "optim.lr", 1e-3), ("optim.lr=1", "optim.lr", 1.0),
    ("decode.constrained=false", "decode.constrained", False), ("task=pos", "task", "pos"), ('task="pos"', "task", "pos"),
    ("model.freeze=bert.embeddings.*,*.bias", "model.freeze", ["bert.embeddings.*", "*.bias"]),
    ('model.freeze=["a,b"]', "model.freeze", ["a,b"]), ("model.freeze=", "model.freeze", []),
    ("data.encoding=latin-1", "data.encoding", "latin-1"), ("model.dropout=-1", "model.dropout", -1.0),
    ("model.dropout=0", "model.dropout", 0.0), ("model.dropout=0.99", "model.dropout", 0.99),
    ("advpicker.rho=1", "advpicker.rho", 1.0), ("advpicker.rho=1e-9", "advpicker.rho", 1e-9)])
def test_override(assignment, name, value):
    before = SCHEMA.settings({"train.batch_size": 5})
    after = before.override([assignment])
    assert after[name] == value and type(after[name]) is type(value)
    assert after["train.batch_size"] == 5
    assert before[name] == SCHEMA[name].default, "the original is unchanged"


def test_later_assignments_win():
    assert SCHEMA.settings({}).override(["train.epochs=1", "train.epochs=2"])["train.epochs"] == 2


@pytest.mark.parametrize("assignment, text", [
    ("train.epochs", "--set train.epochs: expected section.key=value, for example train.epochs=3"),
    ("train.epoch=1", "--set: there is no setting 'train.epoch'; did you mean train.epochs?"),
    ("zzzzzz=1", "--set: there is no setting 'zzzzzz'"),
    ("train.epochs=1.5", "--set: train.epochs: expected a whole number, got 1.5" + EPOCHS),
    ("train.epochs=true", "--set: train.epochs: expected a whole number, got True" + EPOCHS),
    ("train.epochs=three", "--set: train.epochs: expected a whole number, got 'three'" + EPOCHS),
    ("decode.constrained=1", "--set: decode.constrained: expected true or false, got 1 "
                             "(only tag sequences that the scheme allows (Viterbi))"),
    ("task=nerr", "--set: task: expected one of ner, pos, classification, got 'nerr'; did you mean ner?"),
    ("train.batch_size=0", "--set: train.batch_size: expected at least 1, got 0 (sentences in a batch)"),
    ("optim.lr=nan", "--set: optim.lr: expected a finite number, got nan (learning rate of the encoder)"),
    ("advpicker.rho=0", "--set: advpicker.rho: expected more than 0, got 0.0 "
                        "(share of the unlabelled sentences that the student learns from)"),
    ("advpicker.rho=1.0000001", "--set: advpicker.rho: expected at most 1, got 1.0000001 "
                                "(share of the unlabelled sentences that the student learns from)"),
    ("alignment.average_linkage=true", "--set: alignment.average_linkage has a new name: linkage.level, which is none, sentence or "
                                       "token"),
    ("advpicker.study=true", "--set: advpicker.study has a new name: advpicker.audit"),
    *[(f"model.dropout={value}", f"--set: model.dropout: expected -1, or 0 to 0.99, got {value} (dropout of the encoder and the "
                                 "head; -1: the value in config.json, or 0.5 for bilstm-crf)") for value in ("-0.5", "0.999999")],
    ("data.max_length=7", "--set: data.max_length: expected at least 8, got 7 "
                          "(longest input in word pieces, [CLS] and [SEP] included)")])
def test_errors(assignment, text):
    with pytest.raises(UserError) as error:
        SCHEMA.settings({}).override([assignment])
    assert str(error.value) == text


def test_toml_round_trip():
    settings = SCHEMA.settings({}).override(["optim.lr=3e-5", "model.freeze=bert.embeddings.*", "data.encoding=latin-1"])
    text = settings.to_toml()
    assert dict(SCHEMA.settings(flatten(tomllib.loads(text)))) == dict(settings)
    assert settings.override([])["optim.lr"] == 3e-5


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_load(name):
    settings = SCHEMA.recipe(name)
    assert settings["task"] in ("ner", "pos", "classification")
    assert dict(SCHEMA.settings(flatten(tomllib.loads(settings.to_toml())))) == dict(settings)


def test_a_recipe_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('task = "pos"\n[train]\nepochs = 2\n[paper]\ntitle = "not a setting"\n[versions]\nnumpy = "2"\n')
    settings = SCHEMA.recipe(str(path))
    assert (settings["task"], settings["train.epochs"]) == ("pos", 2)


@pytest.mark.parametrize("content, text", [
    (None, "{path}: cannot be read: No such file or directory"),
    (b"[train\n", "{path}: not a TOML file: Expected ']' at the end of a table declaration (at line 1, column 7)"),
    (b"[train]\nepochs = -1\n", "{path}: train.epochs: expected at least 0, got -1" + EPOCHS),
    (b"[train]\nepocs = 1\n", "{path}: there is no setting 'train.epocs'; did you mean train.epochs?")])
def test_a_broken_recipe_file(tmp_path, content, text):
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        SCHEMA.recipe(str(path))
    assert str(error.value) == text.format(path=path)


def test_a_recipe_that_is_not_utf8(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b'task = "\xff"\n')
    with pytest.raises(UserError, match=rf"^{path}: not a TOML file: .*utf-8"):
        SCHEMA.recipe(str(path))


def write_recipes(folder, **recipes):
    """Write NAME.toml with this content for each name."""
    for name, content in recipes.items():
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")


@pytest.mark.parametrize(("start", "end"), [(b"\xef\xbb\xbf", b"\n"), (b"", b"\r\n")])
def test_recipes_of_windows_editors(tmp_path, start, end):
    (tmp_path / "mine.toml").write_bytes(start + b'base = "finetune-ner"\n[train]\nepochs = 2\n'.replace(b"\n", end))
    assert SCHEMA.recipe(tmp_path / "mine.toml") == {**SCHEMA.recipe("finetune-ner"), "train.epochs": 2}


@pytest.mark.parametrize(("text", "said"), [
    ('[inputs]\nencoder = "mbert"\n', "inputs: a recipe holds only settings; name the files on the command line: --encoder, "
     "--source, --dev, --unlabelled, --test, --vectors"),
    ("seed = 3\n", "seed: a recipe holds only settings; give it on the command line: --seed")])
def test_what_options_give_is_not_silently_ignored_in_a_recipe(tmp_path, text, said):
    write_recipes(tmp_path, mine=text, below='base = "mine.toml"')
    for name in ("mine", "below"):
        with pytest.raises(UserError) as error:
            SCHEMA.recipe(tmp_path / f"{name}.toml")
        assert str(error.value) == f"{tmp_path}/mine.toml: {said}"


def test_a_base_is_inherited(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    write_recipes(tmp_path, first='base = "finetune-ner"\n[train]\nepochs = 2\nbatch_size = 4\n')
    write_recipes(tmp_path / "sub", second='base = "../first.toml"\n[train]\nepochs = 3\n')
    expected = {**SCHEMA.recipe("finetune-ner"), "train.epochs": 3, "train.batch_size": 4}
    assert dict(SCHEMA.recipe(tmp_path / "sub" / "second.toml")) == expected
    monkeypatch.chdir(tmp_path / "sub")
    assert dict(SCHEMA.recipe("second.toml")) == expected


@pytest.mark.parametrize("base, text", [
    ('"b.toml"', '{folder}/b.toml: base = "a.toml": expected no circle, found a.toml -> b.toml -> a.toml; remove one of these base '
                 'lines'),
    ('"a.toml"', '{folder}/a.toml: base = "a.toml": expected no circle, found a.toml -> a.toml; remove one of these base lines'),
    ('"c.toml"', '{folder}/a.toml: base = "c.toml": there is no file {folder}/c.toml; a path is relative to the recipe that names '
                 'it'),
    ('"finetune-nre"', '{folder}/a.toml: base = "finetune-nre": expected a .toml file or one of {shipped}; did you mean '
                       'finetune-ner?'),
    ('3', '{folder}/a.toml: base = 3: expected the name of a shipped recipe or the path of a .toml file'),
    ('"d.toml"', "{folder}/d.toml: there is no setting 'train.epocs'; did you mean train.epochs?")])
def test_a_base_that_cannot_be_used(tmp_path, base, text):
    write_recipes(tmp_path, a=f"base = {base}\n", b='base = "a.toml"\n', d="[train]\nepocs = 1\n")
    with pytest.raises(UserError) as error:
        SCHEMA.recipe(tmp_path / "a.toml")
    assert str(error.value) == text.format(folder=tmp_path, shipped=", ".join(shipped_recipes()))


@pytest.mark.parametrize("name, base, changed", [
    ("finetune-ner-cpu", "finetune-ner", {"train.epochs": 3, "train.batch_size": 8, "optim.lr": 1e-4, "optim.head_lr": 2e-3,
                                          "optim.warmup": 0.1, "optim.clip": 1.0}),
    ("quickstart", "finetune-ner-cpu", {"train.epochs": 2}),
    ("advpicker-cpu", "advpicker", {
        "data.unlabelled_limit": 8000, "train.epochs": 1, "train.batch_size": 8, "optim.lr": 1e-4, "optim.head_lr": 2e-3,
        "optim.warmup": 0.1, "optim.clip": 1.0, "adversary.lr": 1e-6, "adversary.target_size": "all",
        "adversary.weight_decay": 0.0, "advpicker.teachers": 3, "advpicker.epochs": 3}),
    ("bilstm-crf-pos", "bilstm-crf-ner-cpu", {"task": "pos", "train.epochs": 10, "optim.lr": 1e-3}),
    ("language-adversarial-classification-cpu", "finetune-classification-cpu", {
        "method": "language-adversarial", "adversary.level": "sentence", "adversary.lr": 5e-6,
        "adversary.discriminator_lr": 2e-2})])
def test_shipped_recipes_with_a_base(name, base, changed):
    settings, inherited = SCHEMA.recipe(name), SCHEMA.recipe(base)
    assert {key: value for key, value in settings.items() if value != inherited[key]} == {
        key: value for key, value in changed.items() if value != inherited[key]}
    assert {key: settings[key] for key in changed} == changed


def test_an_unknown_recipe():
    with pytest.raises(UserError, match=r"^recipe 'finetune-nre': "
                                        r"expected a .toml file or one of .*; did you mean finetune-ner\?$"):
        SCHEMA.recipe("finetune-nre")
