"""--encoder with a name: e5-small, a model of the hub, and a mistyped folder."""
from pathlib import Path

import pytest

from minixl.errors import UserError
from minixl.weights import e5
from minixl.weights.folder import read_config
from tests.cli.conftest import minixl                                                # noqa: F401


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for name in ("mbert", "models/xlm-r", "models/tiny-bert"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name, hub_name", [
    ("xlm-roberta-base", "FacebookAI/xlm-roberta-base"), ("intfloat/multilingual-e5-base", "intfloat/multilingual-e5-base"),
    ("bert-base-multilingual-cased", "google-bert/bert-base-multilingual-cased")])
def test_a_name_of_the_hub(name, hub_name):
    with pytest.raises(UserError) as error:
        read_config(name)
    assert str(error.value) == (
        f"{name}: no such folder; minixl downloads no models; if this is a BERT or an XLM-R of the Hugging Face hub, copy "
        f"config.json, model.safetensors and tokenizer.json from https://huggingface.co/{hub_name}/tree/main into a folder {name}")


@pytest.mark.parametrize("name, meant", [("mbret", "mbert"), ("models/xlmr", "models/xlm-r"), ("./tiny/../mbrt", None),
                                         ("models/tinybert", "models/tiny-bert"), ("e5small", "e5-small")])
def test_a_mistyped_folder(name, meant):
    with pytest.raises(UserError) as error:
        read_config(name)
    fix = f"did you mean {meant}?" if meant else "an encoder folder needs config.json"
    assert str(error.value).startswith(f"{name.removeprefix('./')}: no such folder; {fix}"), error.value


def test_e5_small_is_unpacked_unless_there_is_such_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(e5, "fetch_e5_small", lambda: Path("unpacked"))
    assert e5.encoder_folder(Path("e5-small")) == Path("unpacked")
    assert e5.encoder_folder(Path("mbert")) == Path("mbert") and e5.encoder_folder(Path("a/e5-small")) == Path("a/e5-small")
    (tmp_path / "e5-small").mkdir()
    assert e5.encoder_folder(Path("e5-small")) == Path("e5-small")


@pytest.mark.parametrize("command", [("train", "finetune-ner", "--source", "en=x.txt"), ("bench", "train")])
def test_the_commands_unpack_it(minixl, monkeypatch, command):         # noqa: F811
    monkeypatch.setattr(e5, "fetch_e5_small", lambda: Path("unpacked"))
    code, _, err = minixl(*command, "--encoder", "e5-small")
    assert code == 1 and "unpacked: no such folder" in err
