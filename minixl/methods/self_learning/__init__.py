"""Balanced self-learning (Dong et al. 2020); algorithm.py is the place to begin."""
