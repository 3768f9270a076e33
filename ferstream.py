"""The `ferstream` command and the few public names."""

__version__ = "0.1.0"
