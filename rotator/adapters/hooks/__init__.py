"""How consumers learn of a new key."""
