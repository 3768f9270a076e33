"""The training side: data, networks, systems and export; PyTorch lives only here."""
