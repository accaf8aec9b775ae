"""Studying one training step: record every op, every gradient and every update; check them; walk through them."""
