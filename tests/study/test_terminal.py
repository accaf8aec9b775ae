"""`minixl study step` on a terminal: keys that move, jump, print and quit; a narrow window; without a terminal it prints all."""
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.tiny import write_encoder

STEP = [sys.executable, "-m", "minixl", "study", "step"]
LABELLED = ["--text", "anna visited paris .", "--labels", "B-PER O B-LOC O"]
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return str(write_encoder(tmp_path_factory.mktemp("encoder"), layers=1))


class Terminal:
    """A command in a pseudo-terminal of some size."""

    def __init__(self, command, columns=100, lines=60):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment,
                                        start_new_session=True, preexec_fn=self._prepare)
        os.close(slave)

    def _prepare(self):
        """In the new process: make the terminal its own; Ctrl-C stops it even if tests run in the background, which ignore it."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def until(self, text, seconds=60):
        """Read until a text has appeared; return the lines since the screen was last cleared, without colours."""
        held, end = "", time.monotonic() + seconds
        while text not in COLOURS.sub("", held):
            assert time.monotonic() < end, f"no {text!r} in {held!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                held += os.read(self.master, 1 << 16).decode(errors="replace")
        self.raw = held
        return COLOURS.sub("", held.rpartition("\x1b[2J")[2]).replace("\r", "").split("\n")

    def press(self, keys, text="q quit"):
        """Type keys and return the screen."""
        os.write(self.master, keys.encode())
        return self.until(text)

    def close(self, key=""):
        """Wait for the command to end; return its exit status.

        The key is typed once a second: one that arrives while the command changes the terminal's mode is lost.  What the command
        still prints is read, because it stops when nobody reads.
        """
        end = time.monotonic() + 60
        try:
            while self.process.poll() is None:
                assert time.monotonic() < end, "the command does not end"
                os.write(self.master, key.encode())
                with contextlib.suppress(OSError):             # EIO: the command has closed the terminal
                    while select.select([self.master], [], [], 1)[0]:
                        os.read(self.master, 1 << 16)
            return self.process.wait()
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.master)


def shown(screen):
    """The heading of the event on the screen."""
    return next(line for line in screen if re.match(r"\[\d+/", line))


def test_keys(encoder):
    terminal = Terminal([*STEP, encoder, *LABELLED])
    first = terminal.until("q quit")
    assert shown(first).endswith("forward bert.embeddings.word_embeddings: embedding") and "\x1b[3" in terminal.raw
    assert shown(terminal.press("n")).endswith("position_embeddings: embedding")
    assert shown(terminal.press("\x1b[C")).endswith("token_type_embeddings: embedding")
    assert shown(terminal.press("b")).endswith("position_embeddings: embedding")
    assert any("this calls no other op" in line for line in terminal.press("i"))
    terminal.press("j", "jump to")
    screen = terminal.press("backward intermediate\n")
    assert shown(screen).endswith("backward bert.encoder.layer.0.intermediate.dense: linear")
    assert any("dx = dy @ weight" in line for line in screen) and any(line.startswith("dweight (") for line in screen)
    terminal.press("p", "print")
    screen = terminal.press("dbias 0:2\n")
    place = next(i for i, line in enumerate(screen) if line.startswith("dbias 0:2  2 float32"))
    assert len(screen[place + 1].split()) == 2
    terminal.press("p", "print")
    assert any("no array 'nothing' here" in line for line in terminal.press("nothing\n"))
    assert any(line.startswith("q                        quit") for line in terminal.press("h"))
    assert shown(terminal.press("o")).endswith("backward bert.encoder.layer.0.attention.output.LayerNorm: layernorm")
    assert terminal.close("q") == 0


def test_it_begins_at_a_name(encoder):
    terminal = Terminal([*STEP, encoder, *LABELLED, "--only", "forward word_embeddings"])
    assert shown(terminal.until("q quit")).endswith("forward bert.embeddings.word_embeddings: embedding")
    assert terminal.close("q") == 0
    terminal = Terminal([*STEP, encoder, *LABELLED, "--only", "backward classifier linear"])
    assert shown(terminal.until("q quit")).endswith("backward classifier: linear")
    assert "loss.softmax_cross_entropy" in shown(terminal.press("b")), "all others are there, too"
    assert terminal.close("q") == 0


def test_a_narrow_window(encoder):
    terminal = Terminal([*STEP, encoder, *LABELLED], columns=30, lines=16)
    screen = terminal.until("n next  b back")
    assert max(map(len, screen)) <= 30 and len(screen) <= 18
    screen = terminal.press("n", "n next  b back")
    assert shown(screen).startswith("[2/") and max(map(len, screen)) <= 30
    assert terminal.close("\x03") == 130


def test_without_a_terminal_everything_is_printed(encoder):
    done = subprocess.run([*STEP, encoder, *LABELLED], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and "\x1b" not in done.stdout
    headings = re.findall(r"^\[(\d+)/(\d+)\] (\w+)", done.stdout, re.M)
    assert [int(number) for number, *_ in headings] == list(range(1, int(headings[0][1]) + 1))
    assert {kind for *_, kind in headings} == {"forward", "backward", "helper", "update"}
