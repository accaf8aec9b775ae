"""AdvPicker (Chen et al. 2021); algorithm.py is the place to begin."""
