"""Runs a worker's job in a process of its own."""
import pickle
import subprocess
import sys


def imported_by(job, file):
    """Whether a process that runs this job, pickled to `file`, has imported PyTorch, and minixl's backend."""
    file.write_bytes(pickle.dumps(job))
    code = ("import pickle, sys; from minixl.bench.training import worker; worker.run(pickle.load(open(sys.argv[1], 'rb'))); "
            "print('torch' in sys.modules, 'minixl.backend' in sys.modules)")
    done = subprocess.run([sys.executable, "-P", "-c", code, str(file)], capture_output=True, text=True, check=True)
    return done.stdout.split()
