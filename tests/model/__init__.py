"""A model of operators, time, faults and restarts around the real service, checked against what really happened."""
