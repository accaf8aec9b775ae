"""`minixl bench predict`: prediction against other engines, with the same weights and the same texts of three lengths.

    benchmark.py     makes the work, starts the measuring process, combines its figures
    texts.py         posts, sentences and documents, cut from a file of sentences
    engines.py       the engines, and those of lower precision that are shown beside them
    onnx_graphs.py   the model as an ONNX graph, the same with fused operators, and with weights of 8 bits
    worker.py        the measuring process
    report.py        the table
"""
