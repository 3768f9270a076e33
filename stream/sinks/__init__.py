"""Where results go: JSON lines, CSV, annotated video and a window."""
