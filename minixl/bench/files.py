"""Whether a file can be written, asked before minutes of measuring and not after them."""
from __future__ import annotations

import os
from pathlib import Path

from minixl.errors import UserError


def require_writable(option: str, file: Path | None) -> None:
    """Raises UserError, naming the option, where `file` cannot be written.  One that is there keeps its content."""
    if file is None:
        return
    if not file.absolute().parent.is_dir():
        raise UserError(f"{option} {file}: there is no folder {file.parent}")
    place = Path(os.path.realpath(file))               # of a link that points to nothing: the file that it would make
    try:
        new = not place.exists()
        with place.open("ab"):
            pass
        if new:
            place.unlink()
    except OSError as error:
        raise UserError(f"{option} {file}: cannot be written ({error.strerror or error}); choose another place") from None
