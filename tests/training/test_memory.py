"""The peak of a process's memory, and what it is after it was reset."""
import subprocess
import sys
from pathlib import Path

import minixl.training.memory

CAN_RESET = Path("/proc/self/clear_refs").exists()

CODE = """
import numpy as np
from minixl.training.memory import peak_memory, reset_peak_memory
held = peak_memory()
np.ones(64 << 20, np.uint8)
first = peak_memory()
reset_peak_memory()
after = peak_memory()
np.ones(32 << 20, np.uint8)
print(held, first, after, peak_memory())
"""


def test_a_peak_is_counted_anew():
    """Memory that an earlier run used and freed is not counted, unless the system cannot reset the peak."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    held, first, after, second = (int(size) >> 20 for size in done.stdout.split())
    assert 60 <= first - held <= 68
    if CAN_RESET:
        assert after - held < 8 and 28 <= second - after <= 36
    else:
        assert first <= after <= second


def test_a_system_that_forbids_it(monkeypatch):
    """The peak stays as it was, and nothing fails."""
    def forbidden(*args, **how):
        raise PermissionError

    before = minixl.training.memory.peak_memory()
    monkeypatch.setattr(Path, "write_text", forbidden)
    minixl.training.memory.reset_peak_memory()
    assert minixl.training.memory.peak_memory() >= before


RUN = """
import sys
from pathlib import Path
import numpy as np
from tests.whole_runs import run, settings, write_data
folder = write_data(Path(sys.argv[1]))
np.ones(1 << 30, np.uint8)
print(run(folder, folder / "run", settings(train__max_steps=1))["peak_memory_bytes"])
"""


def test_the_peak_of_a_run_is_its_own(tmp_path):
    """Earlier memory of the process, of the run of another seed or a teacher, is not counted."""
    done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (int(done.stdout.split()[-1]) < 1 << 30) == CAN_RESET
