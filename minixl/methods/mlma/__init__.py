"""A multilingual language model with aligned states, and taggers on them (Bao et al. 2019); algorithm.py is the place to begin."""
