"""How others read a .env file, as oracles: python-dotenv and a POSIX shell themselves, and systemd's parser retold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dotenv


def python_dotenv(path: Path, name: str) -> str | None:
    return dotenv.dotenv_values(path, encoding="utf-8").get(name)


def shell(path: Path, name: str) -> str | None:
    """``set -a; . file``, as many start scripts do."""
    script = f'unset {name}; . "$1"; test -n "${{{name}+set}}" && printf %s "${name}"'
    done = subprocess.run(["sh", "-c", script, "sh", path], capture_output=True, check=False)
    return done.stdout.decode() if done.returncode == 0 else None


class _Systemd:
    """The states of ``parse_env_file_internal()`` (systemd 252, src/basic/env-file.c) that a value passes through."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.state = "pre_key"
        self.key = self.value = ""

    def push(self, *, stripped: bool) -> None:
        self.values[self.key.strip()] = self.value.rstrip() if stripped else self.value
        self.state, self.key, self.value = "pre_key", "", ""

    def step(self, char: str) -> None:
        getattr(self, self.state)(char)

    def pre_key(self, char: str) -> None:
        if char in "#;":
            self.state = "comment"
        elif not char.isspace():
            self.state, self.key = "in_key", char

    def comment(self, char: str) -> None:
        if char in "\r\n":
            self.state = "pre_key"

    def in_key(self, char: str) -> None:
        if char in "\r\n":
            self.state, self.key = "pre_key", ""
        elif char == "=":
            self.state = "pre_value"
        else:
            self.key += char

    def pre_value(self, char: str) -> None:
        if char in "\r\n":
            self.push(stripped=False)
        elif char in "'\"\\":
            self.state = {"'": "single", '"': "double", "\\": "escape"}[char]
        elif not char.isspace():
            self.state = "bare"
            self.value += char

    def bare(self, char: str) -> None:
        if char in "\r\n":
            self.push(stripped=True)
        elif char == "\\":
            self.state = "escape"
        else:
            self.value += char

    def escape(self, char: str) -> None:
        self.state = "bare"
        self.value += "" if char in "\r\n" else char

    def single(self, char: str) -> None:
        if char == "'":
            self.state = "pre_value"
        else:
            self.value += char

    def double(self, char: str) -> None:
        if char == '"':
            self.state = "pre_value"
        elif char == "\\":
            self.state = "double_escape"
        else:
            self.value += char

    def double_escape(self, char: str) -> None:
        self.state = "double"
        self.value += char if char in '"\\`$' else "" if char == "\n" else "\\" + char


def systemd(path: Path, name: str) -> str | None:
    parser = _Systemd()
    for char in path.read_bytes().decode() + "\n":
        parser.step(char)
    return parser.values.get(name)


READERS = (python_dotenv, shell, systemd)
