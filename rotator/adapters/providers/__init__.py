"""Implementations of ``rotator.ports.KeyProvider``."""
