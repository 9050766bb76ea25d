"""The contracts of the ports as tests, for authors of plug-ins: ``docs/plugins.md``. Only this needs pytest."""

import pytest

# Before they are imported: their asserts show what they compared.
pytest.register_assert_rewrite(
    "rotator.testing.backends", "rotator.testing.layouts", "rotator.testing.faults", "rotator.testing.providers"
)
