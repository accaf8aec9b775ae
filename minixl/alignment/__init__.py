"""Map word vectors of one language into the space of another."""
