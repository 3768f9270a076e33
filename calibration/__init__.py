"""Making probabilities honest and networks small: temperature and INT8."""

import engines.offline  # noqa: F401  before any library is imported
