"""Making probabilities honest and networks small: temperature and INT8."""
