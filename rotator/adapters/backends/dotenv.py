"""Secrets in .env files: content check under a lock, then one atomic replace.

Options of a destination: ``path`` (of the file) and ``field`` (the variable's name).

- **Version**: a keyed hash of the variable's value, empty where there is none. Two policies with different fields in
  one file never conflict with each other. The key is drawn by each process and never written, for the value may be
  a guessable word that a person typed; after a restart a journaled version only says "look again".
- **Lock**: ``flock`` on the file's directory. It excludes threads and processes alike, survives the replacing of
  the file, is given back when a process dies, and leaves no file behind. A file system that can't lock a directory
  (some NFS mounts) is refused.
- **Mode**: a new file gets 0600. A file that exists is never made looser: what others may do is taken away, and
  the group keeps its read right only where others have none, for then somebody chose it (0640 stays, 0644 becomes
  0600). Owner, group and a POSIX ACL are kept, or the write is refused.
- **Place**: a symbolic link stays, its target is replaced. A file with several hard links, one that is a mount
  point of its own, and what is no regular file are refused: a replace would leave the old key with somebody.
- The hint is one comment line, ``# rotator: {...}``, above the variable. No previous value is kept.
- **Layout**: a template's JSON text is the variable's value; fields beside the key are further variables, written in
  the same replace. The version is that of the key's variable alone.
- Who changed it is the file's owner, when is its mtime: that of the whole file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import pwd
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from rotator.adapters.backends.dotenv_listing import files
from rotator.adapters.backends.envfile import EnvFile, EnvFileError, variables
from rotator.domain.model import Destination, Held, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendUnavailable, OutcomeUnknown, VersionConflict, WrongDestination
from rotator.ports import Listed, Spot

_LARGEST = 1 << 18
_PROBE = SecretValue("tgp_v1_" + "x" * 43)  # of the form of a key, for a look whether a layout can be written
_ACL = "system.posix_acl_access"
_NO_ACL = (errno.ENODATA, errno.ENOTSUP)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_WRONG = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EBUSY,  # the file is a mount point of its own
    errno.EXDEV,
    errno.EBADF,  # the directory can't be locked
    errno.ENXIO,
)


class DotenvBackend:
    """A ``rotator.ports.SecretBackend`` over .env files.

    :param lock_timeout: seconds to wait for another writer in the same directory.
    """

    def __init__(self, *, lock_timeout: float = 10.0) -> None:
        self._lock_timeout = lock_timeout
        self._salt = secrets.token_bytes(32)

    def read(self, destination: Destination) -> Held:
        """See the port. A missing file is an empty destination."""
        with _translated(destination):
            content, found = _load(_path(destination))
            file = _parsed(content, destination)
            whole = None if file.value is None else SecretValue(file.value)
            return Held(
                value=_key_in(whole, destination),
                version=self._version(whole),
                metadata=file.metadata,
                changed_at=datetime.fromtimestamp(found.st_mtime, UTC) if found else None,
                changed_by=_name_of(found.st_uid) if found else "",
            )

    def read_previous(self, destination: Destination) -> SecretValue | None:  # noqa: ARG002 -- the port's signature
        """``None``: a .env file keeps no previous value."""
        return None

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:  # noqa: ARG002 -- the port's signature
        """See the port: ``hostname``."""
        return {"hostname": socket.gethostname()}

    def check_writable(self, destination: Destination) -> None:
        """See the port. A full disk can't be known beforehand."""
        path = _path(destination)
        with _translated(destination):
            content, found = _load(path)
            file = _parsed(content, destination)
            _key_in(None if file.value is None else SecretValue(file.value), destination)
            _text(file, destination, _PROBE, {})
            if not stat.S_ISDIR(path.parent.stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(path.parent, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
                raise BackendDenied(f"{destination}: no right to write in the directory {path.parent}, or to list it")
            with _opened(path.parent) as directory, suppress(BlockingIOError):  # somebody has it: so it can be had
                _lock(directory)
        if found is None or os.geteuid() == 0:
            return
        if found.st_uid != os.geteuid():
            raise BackendDenied(f"{destination}: {path} belongs to another user, and only root can keep its owner")
        if found.st_gid not in {os.getegid(), *os.getgroups()}:
            raise BackendDenied(f"{destination}: {path} belongs to a group that this process is not in")

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """See the port. ``OutcomeUnknown``: replaced, but the directory could not be made durable."""
        path = _path(destination)
        with _translated(destination), self._locked(path.parent, destination) as directory:
            _sweep(path)
            content, found = _load(path)
            file = _parsed(content, destination)
            whole = None if file.value is None else SecretValue(file.value)
            held = _key_in(whole, destination)
            ours = held is not None and held.same_as(value)
            if not ours and self._version(whole) != expected:
                raise VersionConflict(f"{destination}: the variable was changed by somebody else")
            text = _text(file, destination, value, metadata.as_pairs())
            if ours and content == text:
                return
            _replace(path, text.encode("utf-8", "surrogateescape"), found)
            try:
                os.fsync(directory)
            except OSError as error:
                raise OutcomeUnknown(f"{destination}: replaced, but not made durable ({error.strerror})") from error

    def places(self, pattern: str) -> Listed:
        """See ``ports.Listing``: absolute paths of regular files."""
        return files(pattern)

    def fields(self, spot: Spot) -> Mapping[str, SecretValue]:
        """See ``ports.Listing``."""
        destination = Destination("", spot.name, spot.options)
        with _translated(destination):
            content, _ = _load(_path(destination))
        return {name: SecretValue(value) for name, value in variables(content).items()}

    def close(self) -> None:
        """Nothing to give back."""

    def _version(self, value: SecretValue | None) -> str:
        if value is None:
            return ""
        return hashlib.blake2b(value.fingerprint().encode(), key=self._salt, digest_size=16).hexdigest()

    @contextmanager
    def _locked(self, directory: Path, destination: Destination) -> Iterator[int]:
        with _opened(directory) as descriptor:
            deadline = time.monotonic() + self._lock_timeout
            while True:
                try:
                    _lock(descriptor)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise BackendUnavailable(f"{destination}: {directory} is locked by another process") from None
                    time.sleep(0.005)  # flock has no time limit of its own
            yield descriptor


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(directory: int) -> None:
    """``BlockingIOError`` where somebody else has the lock; any other ``OSError`` where nobody can have one."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        raise OSError(error.errno, f"its directory can't be locked ({error.strerror})") from error


def _path(destination: Destination) -> Path:
    option = destination.option("path")
    if not option or "\0" in option:
        raise WrongDestination(f"{destination}: a dotenv destination needs a path")
    return Path(os.path.realpath(option))


def _load(path: Path) -> tuple[str, os.stat_result | None]:
    """Text and status; ``("", None)`` for a missing file in a directory that can be looked into."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return "", None
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise WrongDestination(f"{path} is no regular file")
        if found.st_nlink > 1:
            raise WrongDestination(f"{path} has other hard links, which would keep the old key")
        if found.st_size > _LARGEST:
            raise WrongDestination(f"{path} is too large to be a .env file")
        return stream.read().decode("utf-8", "surrogateescape"), found


def _parsed(content: str, destination: Destination) -> EnvFile:
    try:
        file = EnvFile(content, destination.option("field") or "")
        file.value  # noqa: B018 -- a value that can't be understood is refused here, for reads and writes alike
    except EnvFileError as error:
        raise WrongDestination(f"{destination}: {error}") from error
    return file


def _key_in(whole: SecretValue | None, destination: Destination) -> SecretValue | None:
    try:
        return destination.layout.decode(whole)
    except WrongDestination as error:
        raise WrongDestination(f"{destination}: {error}") from None


def _text(file: EnvFile, destination: Destination, key: SecretValue, facts: Mapping[str, str]) -> str:
    """The whole file with the key in it."""
    layout = destination.layout
    try:
        text = file.with_value(layout.encode(key, facts).reveal(), facts, layout.fields(facts))
        text.encode("utf-8", "surrogateescape")
    except (EnvFileError, UnicodeEncodeError) as error:
        raise WrongDestination(f"{destination}: a .env file can't carry this value to all readers") from (
            error if isinstance(error, EnvFileError) else None  # a UnicodeEncodeError holds the text
        )
    return text


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _sweep(path: Path) -> None:
    """Remove what a killed writer left, a secret in it. Under the lock of the directory no other writer is at work."""
    for left in path.parent.iterdir():
        if left.name.startswith(f".{path.name}.rotator-"):
            left.unlink(missing_ok=True)


def _replace(path: Path, content: bytes, found: os.stat_result | None) -> None:
    """All or nothing: until the rename the old file stays as it is, and what failed leaves no trace."""
    temporary = path.with_name(f".{path.name}.rotator-{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if found is not None:
                _inherit(stream.fileno(), path, found)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def _inherit(descriptor: int, path: Path, found: os.stat_result) -> None:
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
        os.fchown(descriptor, found.st_uid, found.st_gid)
    mode = stat.S_IMODE(found.st_mode)
    try:
        os.setxattr(descriptor, _ACL, os.getxattr(path, _ACL))
        chosen = True
    except OSError as error:
        if error.errno not in _NO_ACL:
            raise
        chosen = not mode & 0o007
    # With an ACL the group's bits are its mask, so they are kept.
    os.fchmod(descriptor, mode & (0o640 if chosen else 0o600))


@contextmanager
def _translated(destination: Destination) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{destination}: {error.strerror or type(error).__name__}"
        if error.errno in _DENIED:
            raise BackendDenied(message) from error
        if error.errno in _WRONG:
            raise WrongDestination(message) from error
        raise BackendUnavailable(message) from error
