"""What several commands say of their options."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minixl.errors import UserError


@contextmanager
def encoding_option() -> Iterator[None]:
    """Commands other than train have --encoding where a recipe has data.encoding: their messages name that."""
    try:
        yield
    except UserError as error:
        text = str(error).replace("--set data.encoding=", "--encoding ").replace("data.encoding:", "--encoding:")
        raise UserError(text) from None
