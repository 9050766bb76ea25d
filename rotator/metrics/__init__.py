"""What Prometheus is told. Imported where the configuration asks for it."""
