"""`minixl bench`: how fast minixl is, measured beside other engines.

    training/              `minixl bench train`: training and prediction against another engine
    files.py               checks that a file can be written before anything is measured

`minixl bench kernels`: every op that has a CUDA kernel, by kernel, plain CuPy, NumPy and PyTorch.

    kernels.py             times the ops, and measures what the device can do
    kernel_cases.py        for each op its inputs, its calls and PyTorch's way of doing it
    kernel_chains.py       the same for the ops that walk over sentences
    kernel_engines.py      an op by kernel, in plain CuPy, in NumPy or in PyTorch
    kernel_memory.py       what one call takes at its peak
    kernel_report.py       the table, the part of kernels/README.md it owns, the picture
    kernel_resources.py    registers, spills and shared memory of every kernel
"""
