"""Paper 001: semantic neighbours, and which pictures are steady enough to teach."""
