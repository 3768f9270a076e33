"""Tensors in, tensors out: taxonomies, bundles and the inference backends."""
