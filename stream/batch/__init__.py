"""Many clips: scored one after the other or by several processes, and resumed after a stop."""
