"""Where frames come from: files, cameras, network streams and the built-in sample."""
