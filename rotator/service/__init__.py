"""The shell over the ports: gather, plan, apply. ``reconcile`` is the place to start reading."""
