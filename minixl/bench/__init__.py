"""`minixl bench`: how fast minixl is, measured beside other engines.

    training/    `minixl bench train`: training and prediction against another engine
    kernels/     `minixl bench kernels`: every op that has a CUDA kernel, against plain CuPy, NumPy and PyTorch
    checks.py    fails before anything is measured where a file cannot be written or PyTorch is not installed
"""
