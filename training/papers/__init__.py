"""What only one paper's study needs; no bundle is made of it."""
