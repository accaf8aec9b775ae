"""`minixl bench train`: training and prediction against another engine, with the same weights and the same batches.

    benchmark.py             starts the measuring processes and combines their figures
    work.py                  what is measured and what every contender gets; imports no engine
    work_bert.py             for the family bert: batches, head, frozen names
    work_adversarial.py      for the family bert-adversarial: the five batches of an iteration, the discriminator
    work_bilstm_crf.py       for the family bilstm-crf: batches, all start parameters
    contender.py             the methods a contender must have, and the list of contenders
    minixl_tagger.py         the training step and the prediction that minixl's contenders share
    minixl_bert.py           minixl's BERT tagger
    minixl_adversarial.py    minixl's language-adversarial method on it, whole iterations and their parts
    minixl_bilstm_crf.py     minixl's BiLSTM-CRF tagger
    transformers_bert.py     transformers' Bert- or XLMRobertaForTokenClassification, run as its Trainer runs it
    transformers_adversarial.py  the adversarial iteration with transformers and PyTorch
    torch_bilstm_crf.py      the BiLSTM-CRF tagger written with PyTorch and pytorch-crf
    torch_update.py          what the contenders in PyTorch share: freezing and the update
    products.py              the matrix products of a BERT step, and how fast this machine computes them
    worker.py                one measuring process
    report.py                the table
    report_parts.py          the table of the parts of an iteration
"""
