"""The mpiexec of the MPI that the test extra installs."""
from __future__ import annotations

import sys
from pathlib import Path


def mpiexec(processes: int) -> list[str]:
    """Return the beginning of a command that starts so many processes; of one, nothing."""
    return [] if processes == 1 else [str(Path(sys.executable).parent / "mpiexec"), "-n", str(processes)]
