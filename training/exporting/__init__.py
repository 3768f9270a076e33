"""Trained networks to bundles: graphs, calibration, the manifest."""
