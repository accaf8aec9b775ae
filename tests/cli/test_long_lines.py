"""A line of 200 MB, or one that never ends, costs no more memory than the longest line that is read."""
import os
import subprocess
import sys

import pytest

from tests.tiny import write_encoder, write_ner

# Bytes of the line; of memory beyond that for a short file: a line may have 40 MB, and joining its parts takes twice as much
SIZE, ALLOWED = 200 << 20, 120 << 20
SAID = ":1: expected a line of at most 10,000,000 characters, found a longer one; is this a text file? If so, divide the line"
PEAK = """
import resource, sys
from minixl.cli.main import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def peak(*args, stdin=None):
    """Run minixl in a process of its own.  Returns its exit code, its peak of memory in bytes and stderr."""
    done = subprocess.run([sys.executable, "-c", PEAK, *map(str, args)], stdin=stdin, capture_output=True, text=True, timeout=100)
    return done.returncode, int(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model in run/model; long.txt, which takes no space on disk, and long.csv."""
    folder = tmp_path_factory.mktemp("long")
    write_ner(folder / "short.txt", "en", repeat=2)
    write_encoder(folder / "ENC")
    for name in ("long.txt", "long.csv"):
        (folder / name).touch()
        os.truncate(folder / name, SIZE)
    code, _, err = peak("train", "finetune-ner-cpu", "--device", "cpu", "--encoder", folder / "ENC", "--source",
                        f"en={folder}/short.txt", "--set", "train.max_steps=1", "--set", "data.max_length=32", "--set",
                        "model.freeze=[]", "--out", folder / "run")
    assert code == 0, err
    return folder


@pytest.mark.parametrize("command", [
    ("data", "stats", "ner", "en={}.txt"), ("data", "stats", "ner", "en={}.txt", "--encoding", "utf-16"),
    ("train", "bilstm-crf-ner-cpu", "--source", "en={}.txt", "--set", "train.max_steps=1", "--out", "new"),
    ("evaluate", "run/model", "en={}.txt", "--device", "cpu"), ("predict", "run/model", "{}.txt", "--device", "cpu"),
    ("predict", "run/model", "{}.txt", "--format", "conll", "--device", "cpu")], ids=" ".join)
def test_memory_of_a_long_line(folder, tmp_path, monkeypatch, command):
    """Compared with the same command on a short file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(folder / "run")
    short = [part.replace("{}", f"{folder}/short") for part in command if part not in ("--encoding", "utf-16")]
    code, usual, err = peak(*short)
    assert code == 0, err
    code, most, err = peak(*(part.replace("{}", f"{folder}/long").replace("new", "other") for part in command))
    assert code == 1 and err.splitlines()[-1] == f"Error: {folder}/long.txt{SAID}"
    assert most < usual + ALLOWED, (most, usual)


def test_standard_input_that_never_ends(folder):
    with open("/dev/zero", "rb") as zeros:
        code, most, err = peak("predict", folder / "run" / "model", "--device", "cpu", stdin=zeros)
    assert code == 1 and err == f"Error: standard input{SAID}\n"
    assert most < peak("predict", folder / "run" / "model", folder / "short.txt", "--device", "cpu")[1] + ALLOWED


def test_a_csv_with_a_long_line(folder):
    code, most, err = peak("data", "stats", "classification", f"en={folder}/long.csv")
    assert code == 1 and err == f"Error: {folder}/long.csv{SAID}\n"
    assert most < peak("data", "stats", "ner", f"en={folder}/short.txt")[1] + ALLOWED
