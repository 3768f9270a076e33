"""The page in the browser."""

import engines.offline  # noqa: F401  before any library is imported
