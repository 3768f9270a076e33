"""Decoding of untrusted files in a process that may do nothing else."""
