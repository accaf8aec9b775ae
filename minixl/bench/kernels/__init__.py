"""`minixl bench kernels`: every op that has a CUDA kernel, timed as kernel and in plain CuPy, NumPy and PyTorch.

    benchmark.py    times the ops, and measures what the device can do
    cases.py        for each op its inputs, its calls and the same in PyTorch
    chains.py       those of the ops that walk along sentences: Viterbi, CRF, LSTM
    engines.py      an op as kernel, in plain CuPy, in NumPy or in PyTorch
    memory.py       the peak memory of one call
    report.py       the table, its copy in kernels/README.md, the plot
    resources.py    registers, spills and shared memory of every kernel
"""
