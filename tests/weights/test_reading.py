"""Files of a folder that cannot be read: the error says how to fix it in one line."""
from pathlib import Path

import pytest

from minixl.errors import UserError
from minixl.weights.folder import read_config
from minixl.weights.reading import explain_read_errors
from minixl.weights.safetensors_reader import SafetensorsReader
from minixl.weights.tokenizer import Tokenizer


@pytest.fixture
def forbid(monkeypatch):
    """Simulates missing permission for files of this name, since the user running the tests may read everything."""
    def plant(forbidden):
        def refuse(real, path, *args, **kwargs):
            if path.name == forbidden:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **kwargs)

        for name in ("open", "read_text", "read_bytes", "is_dir"):
            real = getattr(Path, name)
            monkeypatch.setattr(Path, name, lambda path, *args, real=real, **kwargs: refuse(real, path, *args, **kwargs))
    return plant


@pytest.mark.parametrize("name, content, read", [
    ("encoder", None, read_config), ("config.json", None, read_config), ("model.safetensors", None, SafetensorsReader),
    ("vocab.txt", None, Tokenizer), ("tokenizer.json", "{}", Tokenizer), ("tokenizer_config.json", "{}", Tokenizer)])
def test_a_file_that_may_not_be_read(encoder, forbid, name, content, read):
    path = encoder if name == "encoder" else encoder / name
    if content is not None:
        path.write_text(content)
    forbid(name)
    with pytest.raises(UserError) as error:
        read(encoder)
    assert str(error.value) == f"{path}: cannot be read (Permission denied); its owner can allow it with chmod a+rX {path}"


def test_a_disk_that_fails(tmp_path):
    with pytest.raises(UserError, match=r"w: cannot be read \(Input/output error\); copy the folder again$"), \
            explain_read_errors(tmp_path / "w"):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("name, read", [("config.json", read_config), ("tokenizer_config.json", Tokenizer),
                                        ("model.safetensors.index.json", SafetensorsReader)])
@pytest.mark.parametrize("content", [b'{"a": 1\n"b": 2}', b'{"a": "caf\xe9"}'], ids=["comma", "encoding"])
def test_json_that_was_mistyped(encoder, name, read, content):
    (encoder / "model.safetensors").unlink()
    (encoder / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: not valid JSON: .*; undo your changes to it, or copy the file again$"):
        read(encoder)
