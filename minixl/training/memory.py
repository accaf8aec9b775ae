"""The peak memory of a process.  Imports nothing from minixl, so that a benchmark can use it for other engines too."""
import contextlib
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Return the peak resident memory of this process on the host, in bytes, without GPU memory.

    On Linux the peak since reset_peak_memory(), elsewhere since the process began.

    getrusage also counts memory of the parent process, so on Linux this reads VmHWM.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak_memory() -> None:
    """Reset the peak to the memory in use now.  Does nothing if the system is not Linux, or forbids it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")
