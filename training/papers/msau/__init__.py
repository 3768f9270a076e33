"""Paper 003: what MSAU-Net and TMSAU-Net are measured by."""
