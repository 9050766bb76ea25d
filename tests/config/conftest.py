"""A configuration that is fine, to be spoilt by the tests."""

from pathlib import Path

import pytest

from rotator.config import Settings, load
from rotator.errors import ConfigError

GOOD = """\
version: 1
instance: prod
providers:
  together: {type: together, management_key: {env: MANAGEMENT_KEY}}
policies:
  - name: a
    provider: together
    project: proj_a
    destinations:
      - {backend: dotenv, path: /srv/a.env, field: KEY}
"""
ENVIRON = {"MANAGEMENT_KEY": "a-secret-that-must-not-be-shown", "SIGNING": "whsec_bWFkZSB1cCBmb3IgdGhlc2UgdGVzdHMu"}


class Configuration:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "rotator.yaml"

    def load(self, text: str | bytes, *, forms: bool = True, **environ: str) -> Settings:
        """As ``validate`` does."""
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(self.file, {**ENVIRON, **environ}, forms=forms)

    def problems(self, text: str | bytes) -> list[str]:
        """The error's lines, without the folder."""
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        return str(caught.value).replace(f"{self.folder}/", "").splitlines()


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(tmp_path)
