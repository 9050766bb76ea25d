"""Ways in: the command line, one pass, the daemon. Everything below is wired in ``bootstrap``."""
