"""The dotenv backend on a real file system."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rotator.adapters.backends.dotenv import DotenvBackend
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendUnavailable, RotatorError, VersionConflict, WrongDestination
from tests.backends.conftest import a_destination, some_metadata

FIELD = "TOGETHER_API_KEY"
NEW = SecretValue("tgp_v1_new")
NOBODY = 65534
ROOT = os.geteuid() == 0


def at(path: Path, field: str = FIELD) -> Destination:
    return a_destination("local", path=str(path), field=field)


def publish(path: Path, value: SecretValue = NEW, field: str = FIELD) -> None:
    backend = DotenvBackend()
    backend.check_writable(at(path, field))
    backend.write(at(path, field), value, some_metadata(), backend.read(at(path, field)).version)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As root, go on as nobody; anybody else is unprivileged already."""
    if not ROOT:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_new_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        publish(tmp_path / ".env")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / ".env") == 0o600


@pytest.mark.parametrize(
    ("before", "after"),
    [(0o600, 0o600), (0o400, 0o400), (0o640, 0o640), (0o660, 0o640), (0o644, 0o600), (0o666, 0o600), (0o750, 0o640)],
)
def test_an_existing_file_is_never_made_looser(tmp_path: Path, before: int, after: int) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    path.chmod(before)
    publish(path)
    assert mode_of(path) == after


def test_owner_and_group_are_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    owner = (12345, 23456) if ROOT else (os.geteuid(), os.getegid())
    os.chown(path, *owner)
    publish(path)
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_an_access_list_that_lets_another_user_read_is_kept(tmp_path: Path) -> None:
    path, no_id = tmp_path / ".env", 0xFFFFFFFF
    path.write_text("A=1\n")
    # acl(5) as Linux stores it: tag, permissions, id of owner, user 1234 (r), group, mask (r), others.
    entries = [(0x01, 6, no_id), (0x02, 4, 1234), (0x04, 0, no_id), (0x10, 4, no_id), (0x20, 0, no_id)]
    access_list = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", access_list)
    publish(path)
    assert os.getxattr(path, "system.posix_acl_access") == access_list


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "real" / "app.env", tmp_path / ".env"
    target.parent.mkdir()
    target.write_text("A=1\n")
    link.symlink_to(target)
    publish(link)
    assert link.is_symlink()
    assert f"{FIELD}=tgp_v1_new\n" in target.read_text()


def test_bytes_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"# caf\xe9\r\nA=\xff\xfe\r\n")
    publish(path)
    assert path.read_bytes().startswith(b"# caf\xe9\r\nA=\xff\xfe\r\n# rotator: {")


def test_nothing_else_is_left_in_the_directory(tmp_path: Path) -> None:
    publish(tmp_path / ".env")
    publish(tmp_path / ".env", SecretValue("tgp_v1_newer"))
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_disk_that_is_full_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """No failure of ours makes a destination hold a key that the provider refuses (Promise 1)."""
    path = tmp_path / ".env"
    path.write_text("A=" + "x" * 5000 + "\n")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(BackendUnavailable):
            publish(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def _a_directory(folder: Path) -> Path:
    (folder / "dir").mkdir()
    return folder / "dir"


def _a_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def _hard_links(folder: Path) -> Path:
    (folder / "one").write_text("A=1\n")
    (folder / "two").hardlink_to(folder / "one")
    return folder / "two"


def _too_large(folder: Path) -> Path:
    (folder / "large").write_bytes(b"#" * (1 << 19))
    return folder / "large"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("A=1\n")
    return folder / "file" / ".env"


@pytest.mark.parametrize(
    "make",
    [
        _a_directory,
        _a_fifo,
        _hard_links,
        _too_large,
        _below_a_file,
        lambda folder: folder / "no such directory" / ".env",
        lambda _: Path("/dev/null"),
        lambda folder: folder / ("n" * 300),
    ],
    ids=["directory", "fifo", "hard links", "too large", "below a file", "no directory", "device", "long name"],
)
def test_what_can_not_be_replaced_safely_is_refused_before_anything_is_made(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(WrongDestination):
        DotenvBackend().check_writable(at(make(tmp_path)))


@pytest.mark.parametrize(("path_option", "field"), [("", FIELD), ("a\0b", FIELD), ("fine", ""), ("fine", "NOT-A-NAME")])
def test_options_that_name_no_variable_in_no_file_are_refused(path_option: str, field: str) -> None:
    with pytest.raises(WrongDestination):
        DotenvBackend().read(Destination("local", "local:x", (("path", path_option), ("field", field))))


def test_a_directory_without_write_permission_is_denied(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with unprivileged(), pytest.raises(BackendDenied, match="no right to write in the directory"):
        DotenvBackend().check_writable(at(open_folder / ".env"))
    with unprivileged(), pytest.raises(BackendDenied):
        DotenvBackend().write(at(open_folder / ".env"), NEW, some_metadata(), "")
    open_folder.chmod(0o755)
    assert list(open_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.EBADF, WrongDestination), (errno.ENOLCK, BackendUnavailable)],
)
def test_a_directory_that_can_not_be_locked_is_found_before_a_key_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[RotatorError]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))  # as NFS mounts do

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(error, match="can't be locked"):
        DotenvBackend().check_writable(at(tmp_path / ".env"))


def test_a_directory_that_another_writer_has_locked_is_writable(tmp_path: Path) -> None:
    holder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        DotenvBackend().check_writable(at(tmp_path / ".env"))
    finally:
        os.close(holder)


def test_a_directory_that_can_not_be_listed_is_found_before_a_key_is_made(open_folder: Path) -> None:
    open_folder.chmod(0o333)
    with unprivileged(), pytest.raises(BackendDenied, match="or to list it"):
        DotenvBackend().check_writable(at(open_folder / ".env"))
    open_folder.chmod(0o755)


def test_a_file_that_can_not_be_read_is_denied(open_folder: Path) -> None:
    path = open_folder / ".env"
    path.write_text("A=1\n")
    path.chmod(0o000)
    with unprivileged(), pytest.raises(BackendDenied):
        DotenvBackend().read(at(path))


def test_a_value_that_no_form_carries_is_refused_and_in_no_message(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    for value in ("tgp_v1_two\nlines", "tgp_v1_\ud800"):
        with pytest.raises(WrongDestination) as refusal:
            publish(path, SecretValue(value))
        assert "tgp_v1_" not in f"{refusal.value!r} {refusal.value.__cause__!r}"
    assert path.read_text() == "A=1\n"


def test_a_file_locked_by_another_process_is_unavailable_after_the_time_limit(tmp_path: Path) -> None:
    holder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(BackendUnavailable, match="locked"):
            DotenvBackend(lock_timeout=0.02).write(at(tmp_path / ".env"), NEW, some_metadata(), "")
    finally:
        os.close(holder)
    assert list(tmp_path.iterdir()) == []


def test_writers_of_different_variables_in_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    fields = [f"KEY_{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda field: publish(path, SecretValue(f"tgp_v1_{field}"), field), fields))
    held = [DotenvBackend().read(at(path, field)).value for field in fields]
    assert [value.reveal() for value in held if value] == [f"tgp_v1_{field}" for field in fields]


def test_a_change_by_hand_after_the_look_wins(tmp_path: Path) -> None:
    path, backend = tmp_path / ".env", DotenvBackend()
    path.write_text(f"{FIELD}=tgp_v1_old\n")
    seen = backend.read(at(path)).version
    path.write_text(f"{FIELD}=tgp_v1_theirs\n")
    with pytest.raises(VersionConflict):
        backend.write(at(path), NEW, some_metadata(), seen)
    assert path.read_text() == f"{FIELD}=tgp_v1_theirs\n"


def test_the_version_of_a_word_that_a_person_typed_does_not_help_to_guess_it(tmp_path: Path) -> None:
    path, backend = tmp_path / ".env", DotenvBackend()
    path.write_text(f"{FIELD}=changeme\n")
    version = backend.read(at(path)).version
    assert version == backend.read(at(path)).version
    assert version not in {SecretValue("changeme").fingerprint(), DotenvBackend().read(at(path)).version}


def test_every_refusal_says_whether_a_repeat_can_help(tmp_path: Path) -> None:
    with pytest.raises(RotatorError) as refusal:
        DotenvBackend().check_writable(at(tmp_path / "missing" / ".env"))
    assert refusal.value.retryable is False


def test_promise_3_what_a_killed_writer_left_is_swept_away_by_the_next_write(tmp_path: Path) -> None:
    (tmp_path / "..env.rotator-0123456789abcdef").write_text(f"{FIELD}=left\n")
    (tmp_path / ".env.rotator.bak").write_text("somebody's own\n")
    publish(tmp_path / ".env")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", ".env.rotator.bak"]
