"""A hook that is a command, with real child processes."""

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.hooks.command import CommandHook
from rotator.errors import HookFailed, LeaseLost, Stopping
from rotator.ports import News
from tests.fakes.hooks import NEWS

SECOND = timedelta(seconds=1)


@pytest.fixture
def script(tmp_path: Path):
    def write(text: str, interpreter: str = "/bin/sh") -> str:
        path = tmp_path / "hook"
        path.write_text(f"#!{interpreter}\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return write


def run(*command, timeout=10 * SECOND, news=NEWS, pulse=lambda: None):
    CommandHook(command=command, timeout=timeout, patience=SECOND / 2).tell("reload", news, pulse)


def left_behind() -> list[str]:
    """The children of this process that run a hook, or ran one and were not reaped."""
    stats = []
    for one in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            stats.append(one.read_text())
    return [stat for stat in stats if "(hook)" in stat and stat.rpartition(")")[2].split()[1] == str(os.getpid())]


def is_gone(pid: int) -> bool:
    """Whether that process ends soon: nobody here is the parent of a child's child."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_a_program_that_ends_with_0_has_succeeded_and_leaves_no_zombie(script):
    run(script("exit 0"))
    assert left_behind() == []


def test_arguments_arrive_as_they_are_and_no_shell_reads_them(script, tmp_path):
    out = tmp_path / "out"
    run(script(f'printf "%s\\n" "$@" > {out}'), "a b", "$(id); `id` | x", "*")
    assert out.read_text().splitlines() == ["a b", "$(id); `id` | x", "*"]


@pytest.mark.parametrize(("text", "said"), [("exit 3", "it ended with 3"), ("kill -KILL $$", "SIGKILL ended it")])
def test_a_program_that_ends_otherwise_has_failed(script, text, said):
    with pytest.raises(HookFailed, match=said):
        run(script(text))
    assert left_behind() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "it can't be started: No such file or directory"),
        (lambda path: path.chmod(stat.S_IRUSR), "it can't be started: Permission denied"),
        (lambda path: path.write_text("no program at all"), "it can't be started: Exec format error"),
    ],
    ids=["it is not there", "it is not executable", "it is no program"],
)
def test_a_program_that_can_not_be_started_has_failed(script, change, said):
    path = script("exit 0")
    change(Path(path))
    with pytest.raises(HookFailed, match=said):
        run(path)
    assert left_behind() == []


def test_promise_3_its_environment_tells_of_the_key_and_has_nothing_of_ours(script, tmp_path, monkeypatch):
    monkeypatch.setenv("TOGETHER_MANAGEMENT_KEY", "a credential of the service")
    monkeypatch.setenv("HOME", "/home/rotator")
    out = tmp_path / "out"
    run(script(f'exec /usr/bin/env > "{out}"'))
    told = dict(line.split("=", 1) for line in out.read_text().splitlines())
    for of_the_shell in ("PWD", "_", "SHLVL", "OLDPWD"):
        told.pop(of_the_shell, None)
    assert told == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/home/rotator",
        "ROTATOR_HOOK": "reload",
        "ROTATOR_INSTANCE": "prod",
        "ROTATOR_POLICY": "chat",
        "ROTATOR_PROJECT": "proj_a",
        "ROTATOR_KEY_ID": "key_new",
        "ROTATOR_OLD_KEY_IDS": '["key_old"]',
        "ROTATOR_DESTINATIONS": '["vault:secret/chat#KEY", "dotenv:/srv/.env#KEY"]',
    }


def test_a_test_is_told_as_one(script):
    news = News(instance="p", policy="c", project="p", key_id="test", old_key_ids=(), destinations=(), test=True)
    run(script('test "$ROTATOR_TEST" = 1'), news=news)


def test_a_key_id_that_no_variable_can_hold_is_a_failure_and_no_crash(script):
    news = News(instance="p", policy="c", project="p", key_id="a\0b", old_key_ids=(), destinations=())
    with pytest.raises(HookFailed, match="a character that no variable can hold"):
        run(script("exit 0"), news=news)


def test_promise_3_its_output_goes_nowhere(script, capfd):
    with pytest.raises(HookFailed) as caught:
        run(script("cat; echo tgp_v1_printed; echo tgp_v1_printed >&2; exit 1"))
    assert capfd.readouterr() == ("", "")
    assert "printed" not in str(caught.value)


def test_signals_that_the_service_blocks_or_ignores_reach_it(script):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        with pytest.raises(HookFailed, match="SIGTERM ended it"):
            run(script("kill -TERM $$; exit 0"))
        with pytest.raises(HookFailed, match="SIGPIPE ended it"):
            run(script("kill -PIPE $$; exit 0"))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_it_has_no_file_of_ours_open(script, tmp_path):
    with (tmp_path / "journal").open("w") as ours:
        run(script(f"test ! -e /proc/self/fd/{ours.fileno()}"))


def test_one_that_takes_too_long_is_ended_with_all_that_it_started(script, tmp_path):
    out = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(HookFailed, match="it did not end within 1s, and was ended"):
        run(script(f"sleep 60 &\necho $! > {out}\nsleep 60"), timeout=SECOND)
    assert time.monotonic() - began < 5
    assert is_gone(int(out.read_text()))
    assert left_behind() == []


def test_one_that_ignores_the_request_to_end_is_killed_with_all_that_it_started(script, tmp_path):
    out = tmp_path / "pids"
    stubborn = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    open({str(out)!r}, "w").write(str(child))
time.sleep(60)
"""
    with pytest.raises(HookFailed, match="was ended"):
        run(script(stubborn, sys.executable), timeout=SECOND)
    assert is_gone(int(out.read_text()))
    assert left_behind() == []


def test_what_outlives_the_program_itself_has_its_time_to_end_and_no_more(script, tmp_path):
    out, child = tmp_path / "out", tmp_path / "child.py"
    child.write_text(f"""
import pathlib, signal, sys, time
out = pathlib.Path({str(out)!r})
def ends(*_):
    time.sleep(0.3)
    out.write_text("cleaned up")
    sys.exit()
signal.signal(signal.SIGTERM, ends)
out.write_text("works")
time.sleep(60)
""")
    hook = CommandHook(command=(script(f"{sys.executable} {child} | cat"),), timeout=SECOND, patience=30 * SECOND)
    began = time.monotonic()
    with pytest.raises(HookFailed, match="was ended"):
        hook.tell("reload", NEWS, lambda: None)
    assert out.read_text() == "cleaned up", "the shell that started it ends at once"
    assert time.monotonic() - began < 10
    assert left_behind() == []


FIRST = """
import ctypes, os, pathlib, subprocess, sys, time
from datetime import timedelta
from rotator import process
from rotator.adapters.hooks.command import CommandHook
from tests.fakes.hooks import NEWS

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: inherits what has lost its parent, as process 1 does

def children():
    stats = [one.read_text().rpartition(")")[2].split() for one in pathlib.Path("/proc").glob("[0-9]*/stat")]
    return [stat[0] for stat in stats if stat[1] == str(os.getpid())]

def run(program):
    CommandHook(command=(program,), timeout=timedelta(seconds=20)).tell("reload", NEWS, process.bury_orphans)

for _ in range(3):
    run(sys.argv[1])
other = subprocess.Popen(["/bin/false"])
while children() != ["Z"] * 4:
    time.sleep(0.01)
run(sys.argv[2])
print(children(), other.wait())
with process.child(lambda: os.posix_spawn("/bin/false", ["false"], {}, setsid=True)) as ours:
    os.waitid(os.P_PID, ours, os.WEXITED | os.WNOWAIT)
    process.bury_orphans()
    print(os.waitpid(ours, 0) == (ours, 256))
"""


def test_the_first_process_buries_what_hooks_leave_and_nobody_who_is_waited_for(script, tmp_path):
    leaves = Path(script("(/bin/sleep 0.2) &")).rename(tmp_path / "leaves")
    fails_after_a_moment = script("/bin/sleep 0.3")
    done = subprocess.run(
        [sys.executable, "-c", FIRST, leaves, fails_after_a_moment],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "['Z'] 1\nTrue\n"), done.stderr


@pytest.mark.parametrize("why", [Stopping("the service is shutting down"), LeaseLost("taken over")])
def test_one_that_is_not_waited_for_any_more_is_ended(script, tmp_path, why):
    out = tmp_path / "pid"

    def pulse():
        if out.exists() and out.read_text():
            raise why

    with pytest.raises(type(why)):
        run(script(f"echo $$ > {out}\nsleep 60"), pulse=pulse)
    assert is_gone(int(out.read_text()))
    assert left_behind() == []
