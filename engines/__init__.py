"""Tensors in, tensors out: taxonomies, bundles and the inference backends."""

from . import offline as offline  # before any library is imported
