"""Implementations of the ports, one file each; ``bootstrap`` chooses and imports them lazily."""
