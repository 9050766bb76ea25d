"""The pure core: words, lifecycle, decision chains, planner. Standard library only; no clock, no log, no I/O."""
