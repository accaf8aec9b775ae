"""Zero-resource tagging with augmented fine-tuning (Bari et al. 2020); algorithm.py is the place to begin."""
