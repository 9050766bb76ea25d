"""What a plug-in brings is checked like what is built in; one that is broken is named, and breaks nothing else."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rotator import bootstrap
from rotator.config import PluggedBackendSettings, load
from rotator.domain.layout import Layout
from rotator.errors import BackendUnavailable, ConfigError, ProviderUnavailable
from tests.config.conftest import ENVIRON, GOOD

PLANTED = "tgp_v1_" + "P" * 43
GOOD_MODULE = """
from pydantic import field_validator
from rotator.plugins import BackendPlugin, File, Options, ProviderPlugin, SecretValue, Text

class Nested(Options):
    token: SecretValue | None = None

class Settings(Options):
    url: Text
    ca: File | None = None
    tries: int = 3
    token: SecretValue
    more: list[Nested] = []

    @field_validator("url")
    @classmethod
    def good(cls, url):
        if url == "crash":
            raise KeyError(url)
        if url.startswith("bad"):
            raise ValueError(f"no url that begins like {url}")
        return url

class Place(Options):
    name: Text
    field: Text | None = None
    deep: int | None = None

class Store(BackendPlugin):
    contract = 1
    settings, place, tells = Settings, Place, ("site",)
    made = []

    def identity(self, settings, place):
        if place.name == "crash":
            raise KeyError(place.name)
        return (settings.url, place.name.lower())

    def make(self, settings, context):
        self.made.append((settings, context))
        raise ValueError(settings.token.reveal())

class Gate(ProviderPlugin):
    contract = 1
    settings = Settings

class Newer(Store):
    contract = 2

class Unnumbered(BackendPlugin):
    settings, place = Settings, Place

class Loose(Store):
    settings = dict

class Crashing(Store):
    def __init__(self):
        raise RuntimeError
"""
STORE = "  s: {type: store, url: 'https://s', token: {env: MANAGEMENT_KEY}}\n"
HEAD = f"backends:\n{STORE}"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a package on the path: its module, and its entry points by group."""
    before = set(sys.modules)
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def put(package: str, module: str, backends: dict[str, str], providers: dict[str, str] | None = None) -> None:
        (site / f"{package}.py").write_text(textwrap.dedent(module))
        info = site / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        groups = {"rotator.backends": backends, "rotator.providers": providers or {}}
        lines = [
            line
            for group, names in groups.items()
            for line in (f"[{group}]", *(f"{a} = {b}" for a, b in names.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
        importlib.invalidate_caches()

    yield put
    for name in set(sys.modules) - before:
        if name.startswith("acme"):
            del sys.modules[name]


@pytest.fixture
def acme(install: Callable[..., None]) -> None:
    names = ("Store", "Newer", "Unnumbered", "Loose", "Crashing")
    backends = {name.lower(): f"acme:{name}" for name in names}
    lost = {"nowhere": "acme:Nobody", "absent": "acme_absent:Store", "text": "acme:PLANTED"}
    install("acme", GOOD_MODULE, {**backends, **lost}, {"gate": "acme:Gate"})


def in_store(place: str) -> str:
    return HEAD + GOOD.replace("{backend: dotenv, path: /srv/a.env, field: KEY}", place)


def test_its_settings_and_places_are_read_by_its_own_models(configuration: Any, acme: None) -> None:
    place = (
        "{backend: s, name: A, field: K, deep: 4, beside: {ID: key_id}, expect: {site: here}, template: {k: '{key}'}}"
    )
    store = STORE.replace(
        "https://s'", "https://s', ca: ca.pem, limits: {rate: 5}, more: [{token: {env: MANAGEMENT_KEY}}]"
    )
    loaded = configuration.load(in_store(place).replace(STORE, store))
    settings = loaded.backends["s"]
    assert isinstance(settings, PluggedBackendSettings)
    assert (settings.type, settings.limits.rate) == ("store", 5)
    assert settings.checked.model_dump(include={"ca", "tries"}) == {"ca": f"{configuration.folder}/ca.pem", "tries": 3}
    assert ENVIRON["MANAGEMENT_KEY"] not in repr(loaded)
    (destination,) = loaded.policies[0].destinations
    assert destination.options == (("deep", "4"), ("field", "K"), ("name", "A"))
    assert (destination.name, destination.expect) == ("s:A/4#K", (("site", "here"),))
    assert destination.layout == Layout(template='{"k": "{key}"}', beside=(("ID", "key_id"),))


def test_secrets_are_handed_over_resolved_when_it_is_made_and_never_in_an_error(
    configuration: Any, acme: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No secret leaves memory except to its destinations (Promise 3)."""
    loaded = configuration.load(
        in_store("{backend: s, name: a}").replace(
            "version: 1", f"version: 1\nstate: {{url: 'sqlite:///{configuration.folder}/s.db'}}"
        )
    )
    with bootstrap.application(loaded, ENVIRON) as application, pytest.raises(BackendUnavailable) as failure:
        application._adapters[1]("s")
    made = sys.modules["acme"].Store.made
    assert [(each.token.reveal(), context.name) for each, context in made] == [(ENVIRON["MANAGEMENT_KEY"], "s")]
    assert str(failure.value).startswith("the plug-in store: make failed (ValueError at acme.py:")
    assert ENVIRON["MANAGEMENT_KEY"] not in f"{failure.value!r}"


def test_a_secret_that_is_gone_since_the_start_is_a_backend_that_is_not_available(
    configuration: Any, acme: None
) -> None:
    """Promise 9: a policy that only looks whether its key lies there too goes on."""
    loaded = configuration.load(
        in_store("{backend: s, name: a}").replace(
            "version: 1", f"version: 1\nstate: {{url: 'sqlite:///{configuration.folder}/s.db'}}"
        )
    )
    with bootstrap.application(loaded, {}) as application:
        with pytest.raises(BackendUnavailable, match="backend s: no credential: environment variable MANAGEMENT_KEY"):
            application._adapters[1]("s")
        with pytest.raises(ProviderUnavailable, match="provider together: no credential: environment variable MANAG"):
            application._adapters[0]("together")


def test_a_providers_secret_may_lie_in_a_backend(configuration: Any, acme: None) -> None:
    gate = "  gate: {type: gate, url: u, token: {backend: s, name: a, field: mk}}\n"
    text = in_store("{backend: dotenv, path: /srv/a.env, field: KEY}").replace("providers:\n", f"providers:\n{gate}")
    loaded = configuration.load(text)
    assert loaded.providers["gate"].given["token"].destination.name == "s:a#mk"
    assert configuration.problems(
        in_store("{backend: s, name: a, field: mk}").replace("providers:\n", f"providers:\n{gate}")
    ) == [
        (
            "rotator.yaml:13: policies[0].destinations[0] (a): found s:a#mk, the same place as providers.gate.token; "
            "allowed: each place once"
        )
    ]


BAD_TYPES = {
    "newer": "found the plug-in of acme 1.2, which speaks contract 2; allowed: contract 1, as this rotator",
    "unnumbered": "found the plug-in of acme 1.2, which names no BackendPlugin; allowed: a subclass with contract = 1",
    "text": "found the plug-in of acme 1.2, which can't be loaded (AttributeError)",
    "nowhere": "found the plug-in of acme 1.2, which can't be loaded (AttributeError)",
    "absent": "found the plug-in of acme 1.2, which can't be imported (ModuleNotFoundError of acme_absent)",
    "loose": "found the plug-in of acme 1.2, whose settings is no model of Options",
    "crashing": "found the plug-in of acme 1.2, which can't be loaded (RuntimeError)",
    "stor": (
        "found 'stor'; allowed: a type of backend, built in or of an installed plug-in: vault, aws-secrets-manager, "
        "dotenv, absent, crashing, loose, newer, nowhere, store, text, unnumbered; did you mean 'store'?"
    ),
}


@pytest.mark.parametrize(("kind", "problem"), BAD_TYPES.items(), ids=BAD_TYPES)
def test_a_plug_in_that_can_not_be_used_is_one_clear_fault(
    configuration: Any, acme: None, kind: str, problem: str
) -> None:
    (line,) = configuration.problems(GOOD + f"backends: {{s: {{type: {kind}}}}}\n")
    assert line.startswith(f"rotator.yaml:11: backends.s.type: {problem}")


@pytest.mark.parametrize(
    "raises", ["raise SystemExit(3)", f"raise ValueError('{PLANTED}')", "def broken(", "import acme_gone"]
)
def test_a_module_that_fails_to_import_is_one_clear_fault(configuration: Any, install: Any, raises: str) -> None:
    install("acme", raises, {"store": "acme:Store"})
    (line,) = configuration.problems(GOOD + "backends: {s: {type: store}}\n")
    assert "backends.s.type: found the plug-in of acme 1.2, which can't be " in line
    assert PLANTED not in line


def test_two_packages_with_one_name_are_a_fault(configuration: Any, acme: None, install: Any) -> None:
    install("acme_other", "", {"store": "acme_other:Store"})
    (line,) = configuration.problems(GOOD + "backends: {s: {type: store}}\n")
    assert "found two plug-ins of that name, of acme 1.2 and acme_other 1.2; allowed: one of them installed" in line


BAD_SETTINGS = {
    "url: 1, token: {env: MANAGEMENT_KEY}": "backends.s.url: found 1; allowed: a valid string",
    "token: {env: MANAGEMENT_KEY}": "backends.s.url: found nothing; allowed: this field must be there",
    "url: u, urk: u, token: {env: MANAGEMENT_KEY}": (
        "backends.s.urk: found an unknown field; allowed: url, ca, tries, token, more; did you mean 'url'?"
    ),
    "url: u, tries: '3', token: {env: MANAGEMENT_KEY}": "backends.s.tries: found '3'; allowed: a valid integer",
    "url: u, token: swordfish": (
        "backends.s.token: found a value written into the configuration; allowed: a reference to a secret, such as "
        "{env: NAME} or {file: PATH}; never the secret itself"
    ),
    "url: u, token: {env: NOWHERE}": (
        "backends.s.token: found environment variable NOWHERE, which is not set or empty; "
        "allowed: a secret that is there"
    ),
    "url: u, token: {env: MANAGEMENT_KEY}, more: [{token: {file: gone}}]": (
        "backends.s.more[0].token: found file {folder}gone, which can't be read (No such file or directory); "
        "allowed: a secret that is there"
    ),
    "url: {env: MANAGEMENT_KEY}, token: {env: MANAGEMENT_KEY}": (
        "backends.s.url: found a reference to a secret; allowed: a valid string"
    ),
    "url: bad, token: {env: MANAGEMENT_KEY}": "backends.s.url: found 'bad'; allowed: no url that begins like bad",
    "url: bad/0123456789abcdef0123456789abcdef, token: {env: MANAGEMENT_KEY}": (
        "backends.s.url: found a value that looks like a secret; allowed: what its documentation says"
    ),
    "url: crash, token: {env: MANAGEMENT_KEY}": (
        "backends.s: found what the plug-in's own check fails on (KeyError); allowed: what its documentation says"
    ),
    "url: u, token: {env: MANAGEMENT_KEY}, limits: {rate: x}": (
        "backends.s.limits.rate: found 'x'; allowed: a valid number"
    ),
}


@pytest.mark.parametrize(("fields", "problem"), BAD_SETTINGS.items(), ids=range(len(BAD_SETTINGS)))
def test_a_fault_in_its_settings_has_file_line_and_field(
    configuration: Any, acme: None, fields: str, problem: str
) -> None:
    (line,) = configuration.problems(GOOD + f"backends: {{s: {{type: store, {fields}}}}}\n")
    assert line == f"rotator.yaml:11: {problem}".replace("{folder}", "")


BAD_PLACES = {
    "{backend: s}": "destinations[0].name (a): found nothing; allowed: this field must be there",
    "{backend: s, name: a, nme: b}": "destinations[0].nme (a): found an unknown field; allowed: name, field, deep",
    "{backend: s, name: a, deep: x}": "destinations[0].deep (a): found 'x'; allowed: a valid integer",
    "{backend: s, name: crash}": "destinations[0] (a): found what the plug-in fails on (KeyError)",
    "{backend: s, name: a, expect: {account: '1'}}": (
        "destinations[0].expect.account (a): found a name that this type of backend does not tell; allowed: site"
    ),
    "{backend: s, name: a, beside: {ID: key_id}}": "destinations[0].beside (a): found fields beside a whole secret",
    "{backend: s, name: a, field: K, beside: {ID: keyid}}": "destinations[0].beside.ID (a): found 'keyid'",
    "{backend: s, name: a, template: {a: b}}": "destinations[0].template (a): found {key} is missing",
    "{backend: s, name: a}\n      - {backend: s, name: A}": "destinations[1] (a): found s:A, the same place as a",
    "{backend: s, name: a, field: K}\n      - {backend: s, name: A}": "destinations[1] (a): found s:A, the same place",
}


@pytest.mark.parametrize(("place", "problem"), BAD_PLACES.items(), ids=range(len(BAD_PLACES)))
def test_a_fault_in_a_place_has_file_line_and_field(configuration: Any, acme: None, place: str, problem: str) -> None:
    (line,) = configuration.problems(in_store(place))
    assert line.partition(": ")[2].startswith(f"policies[0].{problem}")


def test_installed_packages_are_looked_at_only_for_a_type_that_is_not_built_in(
    configuration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **which: asked.append(which) or ())
    text = GOOD + "backends: {a: {type: aws-secrets-manager, region: eu-west-1}, f: {type: dotenv}}\n"
    load_again = configuration.load(text)
    assert (set(load_again.backends), asked) == ({"dotenv", "a", "f"}, [])
    with pytest.raises(ConfigError):
        load(configuration.folder / "rotator.yaml", {})
    configuration.problems(GOOD + "backends: {s: {type: store}}\n")
    assert {"group": "rotator.backends", "name": "store"} in asked
