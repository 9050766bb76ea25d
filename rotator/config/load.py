"""From a file to ``Settings``: everything is checked, every fault is reported, nothing is half accepted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rotator.config import sections
from rotator.config.check import shown
from rotator.config.file import ConfigFile
from rotator.config.policies import PolicyReader
from rotator.config.settings import HttpSettings, Settings
from rotator.config.shapes.document import Document, IncludedDocument
from rotator.domain.model import Policy
from rotator.errors import ConfigError, Problem

_STAND_IN = {"version": 1, "instance": "unknown", "providers": {}}


def load(path: Path, environ: Mapping[str, str], *, secrets: bool = True, forms: bool = False) -> Settings:
    """Read and check a configuration and what it includes.

    Secrets that it refers to must be there; they are not kept.

    :param secrets: ``False``: they need not be there yet, for whoever asks which rights to make them with.
    :param forms: also look whether they are of the form that is needed. What runs does not: a hook's token that can't
        be sent must not keep keys from being rotated.
    :raises ConfigError: with every problem that was found.
    """
    # Absolute: a destination must have the same name from whichever folder rotator is started.
    folder = path.parent.absolute()
    main = ConfigFile(path)
    document, broken = _document(main)
    reader = sections.SectionReader(main.faults, environ, folder, secrets=secrets, forms=forms)
    state_url, state_password = reader.state(document.state)
    history = reader.history(document.state)
    backends = reader.backends({} if document.backends is None else document.backends)
    providers = reader.providers(document.providers, backends) if "providers" not in broken else {}
    http = reader.http(document.http)
    hooks = reader.hooks(document.hooks, document.defaults.hooks or ())
    channels = reader.notifications(document.notifications, document.defaults)
    policies = PolicyReader(
        document, folder, providers, backends, hooks, channels=channels, reserved=reader.reserved, broken=broken
    )
    files, problems = _included(main, folder, document.include)
    for file in (main, *files):
        given = file.data.get("policies")
        policies.read(given if given is not None else [], file.faults)
    policies.finish()
    problems = [*(problem for file in (main, *files) for problem in file.problems()), *problems]
    if problems:
        raise ConfigError(problems)
    return Settings(
        source=path,
        instance=document.instance,
        state_url=state_url,
        state_password=state_password,
        providers=providers,
        backends=backends,
        policies=tuple(_served(policy, http) for policy in policies.made),
        service=sections.service(document.service),
        log=sections.log(document.log),
        http=http,
        hooks=hooks,
        notifications=channels,
        history=history,
    )


def _served(policy: Policy, http: HttpSettings | None) -> Policy:
    """With the service's page among the ways to hand a key over, where it has one."""
    if policy.assistance is None or http is None or not http.takes_keys:
        return policy
    return replace(policy, assistance=replace(policy.assistance, page=True))


def _document(main: ConfigFile) -> tuple[Document, set[str]]:
    """The file in its shape, and which sections can't be relied on: the others are still looked at."""
    before = len(main.faults.found)
    document = main.faults.check(Document, main.data, ())
    if document is not None:
        broken = {name for name in ("providers", "backends") if not isinstance(getattr(document, name), Mapping)}
        return document, broken - ({"backends"} if document.backends is None else set())
    wrong = {str(where[0]) for where, _, _ in main.faults.found[before:]}
    kept = {name: value for name, value in main.data.items() if name not in wrong}
    document = Document.model_validate({**_STAND_IN, **kept})
    lame = {name for name in ("providers", "backends") if not isinstance(getattr(document, name), Mapping)}
    return document, wrong | lame


def _included(main: ConfigFile, folder: Path, patterns: list[str]) -> tuple[list[ConfigFile], list[Problem]]:
    """The files that are read, and the problems of those that can't be."""
    files: list[ConfigFile] = []
    problems: list[Problem] = []
    seen = {os.path.realpath(main.path)}
    for number, pattern in enumerate(patterns):
        for path in _matches(main, folder, number, pattern):
            real = os.path.realpath(path)  # Path.resolve() raises on a loop of links
            if real in seen:
                continue
            seen.add(real)
            try:
                file = ConfigFile(path)
            except ConfigError as error:
                problems.extend(error.problems)
            else:
                file.faults.check(IncludedDocument, file.data, ())
                files.append(file)
    return files, problems


def _matches(main: ConfigFile, folder: Path, number: int, pattern: str) -> list[Path]:
    """The files that an entry of ``include`` means; a glob may match none."""
    if not any(character in pattern for character in "*?["):
        path = folder / pattern
        if os.path.lexists(path):
            return [path]
        main.faults.add(("include", number), shown(pattern), "allowed: a file that exists, or a glob")
        return []
    anchor = Path(pattern).anchor
    try:
        return sorted(Path(anchor or folder).glob(pattern.removeprefix(anchor)))
    except (ValueError, OSError):
        main.faults.add(("include", number), shown(pattern), "allowed: a file that exists, or a glob")
        return []
