"""`minixl bench`: how fast minixl is, measured beside other engines.

    training/    `minixl bench train`: training and prediction against another engine
    kernels/     `minixl bench kernels`: every op that has a CUDA kernel, against plain CuPy, NumPy and PyTorch
    checks.py    fails early if a result file cannot be written or PyTorch is not installed
    timing.py    the duration of one call
"""
