"""Changes of several threads become durable by one commit, and each of them stands or falls by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, create_engine, text

from rotator.adapters.journal.commits import SharedCommits
from rotator.errors import JournalUnavailable, LeaseLost

THREADS = 8


class Book:
    """A table of one column, and a disk that can be held and can fail."""

    def __init__(self, path) -> None:
        self.engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE written (word TEXT)"))
        self.commits = SharedCommits(self.transaction)
        self.sizes: list[int] = []  # of each commit, in changes
        self.committing = threading.Event()
        self.disk = threading.Event()
        self.disk.set()
        self.full = False
        self.doing = 0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            self.doing = 0
            yield connection
            self.committing.set()
            assert self.disk.wait(30)
            if self.full:
                raise JournalUnavailable("the disk is full")
            self.sizes.append(self.doing)

    def write(self, word: str) -> str:
        def change(connection: Connection) -> str:
            connection.execute(text("INSERT INTO written VALUES (:word)"), {"word": word})
            self.doing += 1
            if word.startswith("bad"):
                raise LeaseLost(word)
            return f"{word} is written"

        return self.commits.carry_out(change)

    def words(self) -> list[str]:
        with self.engine.connect() as connection:
            return sorted(connection.execute(text("SELECT word FROM written")).scalars())

    def wait_for(self, number: int) -> None:
        """Until so many changes wait for the commit that is under way."""
        while len(self.commits._waiting) < number:
            threading.Event().wait(0.001)


@pytest.fixture
def book(tmp_path):
    book = Book(tmp_path / "book.db")
    yield book
    book.engine.dispose()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def write_during_a_commit(book: Book, pool: ThreadPoolExecutor, words: list[str]) -> list[Future[str]]:
    """The first word is on its way to the disk when the others come; the disk is held still at the end."""
    book.disk.clear()
    first = pool.submit(book.write, words[0])
    assert book.committing.wait(30)
    rest = [pool.submit(book.write, word) for word in words[1:]]
    book.wait_for(len(rest))
    return [first, *rest]


def test_a_change_that_comes_alone_is_committed_at_once(book):
    assert book.write("alone") == "alone is written"
    assert (book.sizes, book.words()) == ([1], ["alone"])


def test_what_comes_during_a_commit_shares_the_next_one(book, pool):
    words = [f"word {number}" for number in range(THREADS)]
    writing = write_during_a_commit(book, pool, words)
    assert not any(one.done() for one in writing), "it is not durable yet"
    book.disk.set()
    assert [one.result(30) for one in writing] == [f"{word} is written" for word in words]
    assert (book.sizes, book.words()) == ([1, THREADS - 1], words)


def test_a_change_that_fails_takes_no_other_with_it(book, pool):
    writing = write_during_a_commit(book, pool, ["a", "b", "bad", "c"])
    book.disk.set()
    with pytest.raises(LeaseLost, match="bad"):
        writing[2].result(30)
    assert [writing[n].result(30) for n in (0, 1, 3)] == ["a is written", "b is written", "c is written"]
    assert book.words() == ["a", "b", "c"]


def test_a_commit_that_fails_fails_for_all_that_share_it_and_for_nobody_after(book, pool):
    writing = write_during_a_commit(book, pool, ["a", "b", "c"])
    book.full = True
    book.disk.set()
    errors = [one.exception(30) for one in writing]
    assert [str(error) for error in errors] == ["the disk is full"] * 3
    assert len({id(error) for error in errors}) == len(errors), "a thread may add to its own what it knows"
    book.full = False
    assert book.write("later") == "later is written"
    assert book.words() == ["later"]


def test_a_thread_that_ends_in_the_middle_leaves_nobody_waiting(book, pool):
    book.disk.clear()
    first = pool.submit(book.write, "first")
    assert book.committing.wait(30)

    def end(_connection: Connection) -> None:
        raise SystemExit

    ending = pool.submit(book.commits.carry_out, end)
    book.wait_for(1)
    other = pool.submit(book.write, "other")
    book.wait_for(2)
    book.disk.set()
    assert first.result(30) == "first is written"
    assert isinstance(ending.exception(30), SystemExit)
    assert isinstance(other.exception(30), JournalUnavailable)
    assert book.write("later") == "later is written"
    assert book.words() == ["first", "later"]
