"""What trained networks and bundles are measured by, and the pages that show it."""
