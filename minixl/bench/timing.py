"""The duration of one call."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def seconds_of(function: Callable[..., object], *arguments: Any) -> float:
    """Call a function with these arguments; return the seconds it took."""
    begin = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begin
