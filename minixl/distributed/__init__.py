"""Several processes that train one model together, over MPI: docs/scaling.md.

    group.py     the processes as the rest of minixl sees them; one process alone is a group, too
    mpi.py       a group over mpi4py, imported only in processes that mpiexec started
    nccl.py      sums on GPUs
    launch.py    recognises mpiexec; ends all processes together

Every process runs the same program on the same arguments and holds the same parameters, moments and streams; only the work
between two updates is shared out.
"""
from minixl.distributed.group import Group, PendingSum, group, on_one_rank, using

__all__ = ["Group", "PendingSum", "group", "on_one_rank", "using"]
