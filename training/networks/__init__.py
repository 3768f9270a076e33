"""Network blocks and the networks of the papers."""
