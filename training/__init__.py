"""The training side: data, networks, systems and export; PyTorch lives only here."""

import engines.offline  # noqa: F401  before any library is imported
