"""Print messages, and text from files without the characters that control a terminal; survive standard streams that are broken."""
from __future__ import annotations

import errno
import io
import logging
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from minixl.errors import WARNING, UserError

VERBOSITY = "minixl.verbosity"         # a key of click's Context.meta: "quiet", "verbose", or missing
CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) != "\t"}


def printable(text: str) -> str:
    """Replace every control character but the tab with U+FFFD, since an escape sequence could recolour the terminal."""
    return text.translate(CONTROLS)


def is_quiet() -> bool:
    """Whether the command runs with --quiet."""
    context = click.get_current_context(silent=True)
    return context is not None and context.meta.get(VERBOSITY) == "quiet"


def to_stderr(message: str) -> None:
    """Print a message to stderr; with --quiet only its warnings, the lines that begin with WARNING."""
    if is_quiet():
        message = "\n".join(line for line in message.splitlines() if line.startswith(WARNING))
        if not message:
            return
    click.echo(message, err=True)


def warn(message: str) -> None:
    """Print a warning to stderr, with --quiet too."""
    click.echo(message, err=True)


class Details(logging.Handler):
    """Prints what minixl logs for --verbose."""

    def emit(self, record: logging.LogRecord) -> None:
        to_stderr(printable(record.getMessage()))


@contextmanager
def details() -> Iterator[None]:
    """Show what minixl logs, and how long the block took."""
    logger, handler, begin = logging.getLogger("minixl"), Details(), time.monotonic()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.debug("total: %.2f s", time.monotonic() - begin)
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Name standard output in errors, drop messages that stderr cannot take, and replace streams that are closed."""
    streams = sys.stdin, sys.stdout, sys.stderr
    if None in streams:                                # keep 0, 1 and 2 from becoming the numbers of files that are opened later
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    stdin, stdout, stderr = streams
    sys.stdin = stdin or io.TextIOWrapper(io.BufferedReader(_Closed()))
    output = sys.stdout = _Output(stdout or io.TextIOWrapper(_Closed()))
    sys.stderr = _Messages(stderr or io.StringIO())
    try:
        yield
    finally:
        if output.failed:                              # what is left in the buffer would fail again when Python ends
            with suppress(OSError):
                discard_output()
        sys.stdin, sys.stdout, sys.stderr = streams


class _Closed(io.RawIOBase):
    """A stream that the caller closed: `minixl ... <&-` or `>&-`."""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise OSError(errno.EBADF, "it is closed")

    def write(self, data: Any) -> int:
        raise OSError(errno.EBADF, "it is closed")


class _Stream:
    """A text stream with another `write` and `flush`."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Output(_Stream):
    """Standard output.  Raises UserError if it cannot be written; BrokenPipeError if its reader has finished."""

    failed = False

    def write(self, text: str) -> None:
        with self._named():
            self.stream.write(text)

    def flush(self) -> None:
        with self._named():
            self.stream.flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except UnicodeEncodeError as error:
            fix = "" if error.encoding == "utf-8" else "; set PYTHONIOENCODING=utf-8"
            raise UserError(f"standard output: its encoding, {error.encoding}, has no {error.object[error.start]!a}{fix}") from None
        except OSError as error:
            self.failed = True
            raise UserError(f"standard output: cannot be written ({error.strerror or error})") from None


class _Messages(_Stream):
    """Standard error: a message that cannot be written is dropped, for example because the terminal is gone."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            self.stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect the signals that ask the command to stop, while it runs; a second one interrupts it at once.

    SIGINT, SIGTERM, and SIGHUP unless nohup has it ignored.  Yields the signals received so far.
    """
    signals: list[int] = []

    def receive(number: int, frame: Any) -> None:
        if number == signal.SIGHUP and signals:                # a closing terminal may send it twice, or to a run that is stopping
            return
        signals.append(number)
        if len(signals) > 1:
            raise KeyboardInterrupt
        warn("\nstopping after this step (again: stop now)")

    handled = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:              # nohup ignores it
        handled.append(signal.SIGHUP)
    before = {number: signal.signal(number, receive) for number in handled}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Keys:
    """Reads single keys from the terminal, which echoes nothing meanwhile.  Use as a context manager."""

    def __init__(self) -> None:
        self.terminal = sys.stdin.fileno()
        self.usual = termios.tcgetattr(self.terminal)

    def __enter__(self) -> Keys:
        tty.setcbreak(self.terminal, termios.TCSADRAIN)                # TCSAFLUSH would drop keys that were typed early
        return self

    def __exit__(self, *error: object) -> None:
        termios.tcsetattr(self.terminal, termios.TCSADRAIN, self.usual)

    def read(self) -> str:
        """Return the next key, an arrow as its escape sequence; "" at the end of the input."""
        key = os.read(self.terminal, 1)
        while key[:1] == b"\x1b" and len(key) < 3 and select.select([self.terminal], [], [], 0.05)[0]:
            key += os.read(self.terminal, 1)
        return key.decode(errors="replace")

    def ask(self, question: str) -> str:
        """Return a line that the user types and edits as usual."""
        self.__exit__()
        try:
            return str(click.prompt(question, default="", show_default=False))
        finally:
            self.__enter__()


def discard_output() -> None:
    """Send the rest of standard output to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
