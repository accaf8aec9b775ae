"""minixl states: write the states of a language model for any text."""
from __future__ import annotations

from pathlib import Path

import click

from minixl.cli.options import bar, device_option, encoding_option, threads_option, verbosity_options
from minixl.cli.terminal import to_stderr


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path), default="-")
@click.option("--language", default="", metavar="LANGUAGE", help="Language of FILE, one of the model's.  [default: that whose "
              "vocabulary has most of a line's words]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, .safetensors.")
@encoding_option
@device_option
@threads_option
@verbosity_options
def states(model: Path, file: Path, language: str, out: Path, encoding: str, device: str) -> None:
    """Write the states of every word of FILE (default: -, standard input), one text a line.

    MODEL is the folder of a language model of `minixl train mlma` or of a tagger on it.  The file has the arrays states (words,
    layers, both directions), starts (of the lines) and words; of a tagger, also representations (words, both directions).
    """
    import sys

    from minixl.backend import array_module_for
    from minixl.data.lines import read_lines, stream_lines
    from minixl.methods.mlma.states import load_reader, write_states

    reader = load_reader(model, array_module_for(device))
    lines = list(stream_lines(sys.stdin.buffer, "standard input", encoding) if str(file) == "-" else read_lines(file, encoding))
    with bar(sum(len(line.split()) for line in lines), "reading") as advance:
        shapes = write_states(reader, lines, out, language, advance)
    for name, shape in shapes.items():
        click.echo(f"{name:<16}{' x '.join(map(str, shape))}")
    to_stderr(f"{out} has the states")
