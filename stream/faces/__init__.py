"""Where faces are in pictures, and whose they are."""
