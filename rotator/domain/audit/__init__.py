"""What security staff are told: findings, from what was seen. Pure. Read ``checks.CHECKS`` first."""
