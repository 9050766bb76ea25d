"""The HTTP listener of the service: /healthz, /readyz, /metrics. Imported where the configuration asks for it."""
