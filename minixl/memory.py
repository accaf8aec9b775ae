"""How much memory a process has held.  Imports nothing of minixl, so that a benchmark can ask it for another engine."""
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """The most resident memory this process has held, in bytes.

    getrusage also counts what the process that started this one held, so Linux is asked for VmHWM.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
