"""The model on paper of docs/scaling.md: bytes and seconds of a training step of mBERT on many GPUs.

    python docs/scaling.py            prints the table
    python docs/scaling.py --write    puts it into docs/scaling.md
    python docs/scaling.py --check    exits with 1 unless docs/scaling.md has it

    bytes       2 · (N-1)/N · 4 · (W + rows · H) per GPU           W trained weights; a step's rows of the word table if trained
    compute     (2 · all + 4 · W) · S · pieces / rate              2 operations forward, 4 backward, per weight and word piece
    transfer    bytes / bandwidth + messages · latency
    step        compute + what of the transfer does not fit into the backward pass
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parent / "scaling.md"
BEGIN, END = "<!-- begin: python docs/scaling.py -->\n", "<!-- end -->"

LAYER, LAYERS, HIDDEN = 7_087_872, 12, 768         # weights of a layer; mBERT
SENTENCES, PIECES = 32, 34                         # of each GPU; the mean of WikiNEuRal's English sentences
RATE = 0.6 * 51e12                                 # operations a second: of an H200's measured product rate (kernels/README.md)
BUCKET, LATENCY = 16e6, 30e-6                      # bytes summed together; seconds of a message
NETWORKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9}
GOOD = 0.8                                         # an efficiency


class Setup(NamedTuple):
    name: str
    trained: int                                   # layers
    table: bool                                    # the word table, too


SETUPS = (Setup("all weights", 12, True), Setup("bottom:3 frozen", 9, False))


def rows(pieces: float) -> float:
    """Return how many different pieces so many have; measured on WikiNEuRal: 515 of 1,107, 2,478 of 8,285, 9,156 of 69,519."""
    return 3.9 * pieces ** 0.7


def bytes_of(setup: Setup, gpus: int, sentences: int) -> float:
    """Return the bytes that each GPU sends, and receives, in a step."""
    numbers = setup.trained * LAYER + setup.table * rows(gpus * sentences * PIECES) * HIDDEN
    return 2 * (gpus - 1) / gpus * 4 * numbers


def seconds_of(setup: Setup, gpus: int, bandwidth: float, sentences: int = SENTENCES) -> tuple[float, float, float]:
    """Return the seconds of computing, of the transfer, and of the step."""
    forward, backward = (factor * layers * LAYER * sentences * PIECES / RATE
                         for factor, layers in ((2, LAYERS), (4, setup.trained)))
    if gpus == 1:
        return forward + backward, 0.0, forward + backward
    sent = bytes_of(setup, gpus, sentences)
    transfer = sent / bandwidth + LATENCY * 2 * (gpus - 1) * max(1, sent / BUCKET / gpus)
    return forward + backward, transfer, forward + max(backward, transfer)


def enough(setup: Setup, gpus: int, bandwidth: float) -> int:
    """Return how many sentences each GPU needs for a good efficiency, in powers of two."""
    sentences = 1
    while True:
        compute, _, step = seconds_of(setup, gpus, bandwidth, sentences)
        if compute >= GOOD * step:
            return sentences
        sentences *= 2


def table() -> str:
    """Return a row for every setup, network and number of GPUs."""
    lines = ["| trained | network | GPUs | sent per GPU, MB | compute, ms | transfer, ms | step, ms | word pieces/s | efficiency | "
             f"sentences per GPU for {GOOD:.0%} |", "|---|---|---|---|---|---|---|---|---|---|"]
    for setup in SETUPS:
        for name, bandwidth in NETWORKS.items():
            for gpus in (1, 8, 64):
                compute, transfer, step = seconds_of(setup, gpus, bandwidth)
                cells = (setup.name, name, gpus, f"{bytes_of(setup, gpus, SENTENCES) / 1e6:.0f}",
                         *(f"{1e3 * seconds:.0f}" for seconds in (compute, transfer, step)),
                         f"{gpus * SENTENCES * PIECES / step:,.0f}", f"{compute / step:.0%}", enough(setup, gpus, bandwidth))
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Print, write or check; returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    new = before + BEGIN + table() + END + rest.split(END, 1)[1]
    if arguments == ["--check"]:
        return int(new != page)
    if arguments == ["--write"]:
        PAGE.write_text(new, encoding="utf-8")
    else:
        print(table(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
