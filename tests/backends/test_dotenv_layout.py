"""How a key lies in a .env file: alone, in a template, with facts in variables beside it; and who changed it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rotator.adapters.backends.dotenv import DotenvBackend
from rotator.domain.layout import Layout
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import WrongDestination
from tests.backends.conftest import a_destination, some_metadata

FIELD = "TOGETHER_API_KEY"
NEW = SecretValue("tgp_v1_new")
ROOT = os.geteuid() == 0


def at(path: Path) -> Destination:
    return a_destination("local", path=str(path), field=FIELD)


def test_who_changed_the_file_and_when_are_its_owner_and_its_mtime(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert (DotenvBackend().read(at(path)).changed_at, DotenvBackend().read(at(path)).changed_by) == (None, "")
    path.write_text("A=1\n")
    os.utime(path, (0, 86_400))
    held = DotenvBackend().read(at(path))
    assert held.changed_at == datetime(1970, 1, 2, tzinfo=UTC)
    assert held.changed_by == path.owner()


def test_an_owner_without_a_name_is_told_by_number(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    owner = 54321 if ROOT else os.geteuid()  # only root can give a file to somebody else
    os.chown(path, owner, -1)
    assert DotenvBackend().read(at(path)).changed_by == ("54321" if ROOT else path.owner())


def test_variables_beside_the_key_are_replaced_where_they_stand_in_the_same_replace(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        f"KEY_ID=old\n# rotator: {{}}\nOTHER=kept\nexport KEY_ID='older' # said twice\n{FIELD}=tgp_v1_old\n"
    )
    place = replace(at(path), layout=Layout(beside=(("EXPIRES", "expires"), ("KEY_ID", "key_id"))))
    backend, metadata = DotenvBackend(), some_metadata(key_id="key_9", expires="2027-01-01")
    backend.write(place, NEW, metadata, backend.read(place).version)
    assert path.read_text() == (
        "KEY_ID=key_9\n# rotator: {}\nOTHER=kept\nexport KEY_ID='key_9' # said twice\n"
        f"# rotator: {json.dumps(metadata.as_pairs())}\n{FIELD}=tgp_v1_new\nEXPIRES=2027-01-01\n"
    )


def test_a_variable_beside_the_key_that_was_changed_is_put_right_by_a_repeat(tmp_path: Path) -> None:
    path, backend, metadata = tmp_path / ".env", DotenvBackend(), some_metadata()
    place = replace(at(path), layout=Layout(beside=(("KEY_ID", "key_id"),)))
    backend.write(place, NEW, metadata, "")
    good = path.read_text()
    path.write_text(good.replace("KEY_ID=key_2", "KEY_ID="))
    backend.write(place, NEW, metadata, "")
    assert path.read_text() == good


@pytest.mark.parametrize(
    "layout",
    [Layout(template='{"a": "$it\'s {key}"}'), Layout(beside=(("NOT-A-NAME", "key_id"),))],
    ids=["a template that readers would understand differently", "no variable's name"],
)
def test_a_layout_that_no_form_carries_is_refused_before_a_key_is_made(tmp_path: Path, layout: Layout) -> None:
    with pytest.raises(WrongDestination):
        DotenvBackend().check_writable(replace(at(tmp_path / ".env"), layout=layout))


def test_an_object_of_another_form_is_refused_before_a_key_is_made(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{FIELD}='{{}}'\n")
    with pytest.raises(WrongDestination, match="does not have the form of the template"):
        DotenvBackend().check_writable(replace(at(tmp_path / ".env"), layout=Layout(template='{"a": "{key}"}')))
