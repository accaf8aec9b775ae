"""`minixl bench`: how fast minixl is, measured beside other engines.

`minixl bench train`: training and prediction against another engine, on the same weights and the same batches.

    train.py               starts the measuring processes and puts their figures together
    work.py                what is measured and what every contender gets; no engine is imported for it
    bert.py                reads and tokenises for the family bert: batches, head, frozen names
    adversarial.py         the same for the family bert-adversarial: the five batches of an iteration, the discriminator
    bilstm_crf.py          the same for the family bilstm-crf: batches, all start parameters
    contender.py           what a contender must be able to do, and the list of them
    minixl_tagger.py       what minixl's contenders share: the training step and the prediction
    minixl_bert.py         minixl's BERT tagger
    transformers_bert.py   transformers' BertForTokenClassification, run as its trainer runs it
    minixl_adversarial.py  minixl's language-adversarial method on it, an iteration at once and by its parts
    transformers_adversarial.py  the same iteration with transformers and PyTorch
    minixl_bilstm_crf.py   minixl's BiLSTM-CRF tagger
    torch_bilstm_crf.py    the same tagger written with PyTorch and pytorch-crf
    products.py            the matrix products of a BERT step, and how fast this machine does them
    worker.py              one measuring process
    report.py              the table
    report_parts.py        what an iteration consists of
    files.py               whether a file can be written, asked before anything is measured

`minixl bench kernels`: every op that has a CUDA kernel, by kernel, plain CuPy, NumPy and PyTorch.

    kernels.py             times the ops, and measures what the device can do
    kernel_cases.py        for each op its inputs, its calls and PyTorch's way of doing it
    kernel_chains.py       the same for the ops that walk over sentences
    kernel_engines.py      an op by kernel, in plain CuPy, in NumPy or in PyTorch
    kernel_memory.py       what one call takes at its peak
    kernel_report.py       the table, the part of kernels/README.md it owns, the picture
    kernel_resources.py    registers, spills and shared memory of every kernel
"""
