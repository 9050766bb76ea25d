"""The HTTP listener: /healthz, /readyz, /metrics, and a page. Imported where the configuration asks for it."""
