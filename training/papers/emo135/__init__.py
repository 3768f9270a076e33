"""Paper 000: embedding of expressions, cleaning, similarity of words."""
