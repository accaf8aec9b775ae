"""`minixl bench train`: training and prediction against another engine, on the same weights and the same batches.

    train.py               reads and tokenises, starts the measuring processes, puts their figures together
    work.py                what every contender gets: batches, head, frozen names; no engine is imported for it
    contender.py           what a contender must be able to do, and the list of them
    minixl_bert.py         minixl's BERT tagger
    transformers_bert.py   transformers' BertForTokenClassification, run as its trainer runs it
    products.py            the matrix products of a step, and how fast this machine does them
    worker.py              one measuring process
    report.py              the table
"""
