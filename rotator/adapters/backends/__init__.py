"""The places where secrets live; one module an implementation of ``rotator.ports.SecretBackend``."""
