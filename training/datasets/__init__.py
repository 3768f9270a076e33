"""Readers, label maps, augmentation and cleaning of training data."""
