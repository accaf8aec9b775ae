"""How much memory a process has held.  Imports nothing of minixl, so that a benchmark can ask it for another engine."""
import contextlib
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """The most resident memory of the host that this process has held, in bytes; a GPU's own memory is not counted.

    On Linux that is since reset_peak_memory(), elsewhere since the process began.

    getrusage also counts what the process that started this one held, so Linux is asked for VmHWM.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak_memory() -> None:
    """From here on the peak counts anew, from what is held now.  Where the system is not Linux, or forbids it, nothing happens."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")
