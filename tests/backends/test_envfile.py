"""The text of a .env file: what is read, what is written, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.adapters.backends.envfile import EnvFile, EnvFileError, quoted
from tests.backends.env_readers import READERS

HINT = '# rotator: {"key_id": "key_2"}'
PAIRS = {"key_id": "key_2"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("KEY=", None),
        ("KEY=''", None),
        ("KEY", None),
        ("# KEY=commented", None),
        ("OTHER_KEY=a\nKEY_OTHER=b", None),
        ("KEY=plain", "plain"),
        ("  KEY = plain  ", "plain"),
        ("export KEY=exported", "exported"),
        ("KEY=a#b", "a#b"),
        ("KEY=plain # remark", "plain"),
        ("KEY= # remark", None),
        ("KEY=#b", "#b"),
        ("KEY='single # quoted' # remark", "single # quoted"),
        (r"KEY='it\'s'", "it's"),
        (r'KEY="a \"b\" \\ c"', r'a "b" \ c'),
        ('KEY="two\nlines"', "two\nlines"),
        ("KEY=first\nKEY=last", "last"),
        ("KEY=first\r\nKEY=last\r\n", "last"),
        ('OTHER="\nKEY=inside another value\n"\nKEY=outside', "outside"),
        ("\ufeffKEY=after a byte order mark", "after a byte order mark"),
        ("this is no assignment\nKEY=plain", "plain"),
        ("BROKEN='never closed\nKEY=plain", "plain"),
    ],
)
def test_a_value_is_what_readers_see(text: str, value: str | None) -> None:
    assert EnvFile(text, "KEY").value == value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{HINT}\nKEY=new\n"),
        ("OTHER=x\n", f"OTHER=x\n{HINT}\nKEY=new\n"),
        ("OTHER=x", f"OTHER=x\n{HINT}\nKEY=new\n"),
        ("OTHER=x\r\n", f"OTHER=x\r\n{HINT}\r\nKEY=new\r\n"),
        ("KEY=old", f"{HINT}\nKEY=new"),
        ("KEY=old\r\nB=2\r\n", f"{HINT}\r\nKEY=new\r\nB=2\r\n"),
        ("KEY=\n", f"{HINT}\nKEY=new\n"),
        ("KEY= # remark\n", f"{HINT}\nKEY=new # remark\n"),
        ("  export KEY = old  # remark\n", f"{HINT}\n  export KEY = new  # remark\n"),
        ("KEY='old'\n", f"{HINT}\nKEY='new'\n"),
        ('KEY="old"\n', f'{HINT}\nKEY="new"\n'),
        ('KEY="two\nlines"\nB=2\n', f'{HINT}\nKEY="new"\nB=2\n'),
        ('# mine\n\n# rotator: {"a": "b"}\nKEY=old\n', f"# mine\n\n{HINT}\nKEY=new\n"),
        ("# rotator: edited by hand\nKEY=old\n", f"{HINT}\nKEY=new\n"),
        (f"{HINT}\nB=2\nKEY=old\n", f"{HINT}\nB=2\n{HINT}\nKEY=new\n"),
        ("KEY=one\nB=2\nKEY=two\n", f"KEY=new\nB=2\n{HINT}\nKEY=new\n"),
        ("\ufeffKEY=old\n", f"\ufeff{HINT}\nKEY=new\n"),
        ("A='odd\nKEY=old\n  trailing \t\n\n", f"A='odd\n{HINT}\nKEY=new\n  trailing \t\n\n"),
    ],
)
def test_only_the_variable_and_its_hint_are_changed(before: str, after: str) -> None:
    written = EnvFile(before, "KEY").with_value("new", PAIRS)
    assert written == after
    assert EnvFile(written, "KEY").value == "new"
    assert EnvFile(written, "KEY").metadata == PAIRS
    assert EnvFile(written, "KEY").with_value("new", PAIRS) == written


@pytest.mark.parametrize("text", ["KEY='never closed", 'KEY="closed" by more', "KEY=${OTHER}", "KEY='${OTHER}'"])
def test_a_value_that_readers_understand_differently_is_refused(text: str) -> None:
    with pytest.raises(EnvFileError, match="line 2"):
        _ = EnvFile(f"A=1\n{text}\n", "KEY").value


@pytest.mark.parametrize("name", ["", "1KEY", "KEY-A", "KEY=A", "KEY A", "KEY\nB"])
def test_a_field_that_is_no_variable_name_is_refused(name: str) -> None:
    with pytest.raises(EnvFileError, match="no variable name"):
        EnvFile("", name)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("tgp_v1_abc-DEF", "tgp_v1_abc-DEF"),
        ("two words", "'two words'"),
        ("a#b", "'a#b'"),
        ("cash$", "'cash$'"),
        ("~home", "'~home'"),
        ("it's", '"it\'s"'),
        ("back\\slash", '"back\\\\slash"'),
    ],
)
def test_a_value_gets_the_simplest_form_that_all_readers_read_alike(value: str, form: str) -> None:
    assert quoted(value) == form


@pytest.mark.parametrize("value", ["two\nlines", "carriage\rreturn", "nul\0", "${OTHER}", "it's $5", "it's `five`"])
def test_a_value_without_such_a_form_is_refused_without_quoting_it(value: str) -> None:
    with pytest.raises(EnvFileError) as refusal:
        quoted(value)
    assert value not in str(refusal.value)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(codec="utf-8") | st.sampled_from("'\"\\$`#{} =~"), min_size=1, max_size=20))
def test_what_is_written_reads_the_same_everywhere(tmp_path: Path, value: str) -> None:
    path = tmp_path / ".env"
    try:
        text = EnvFile("A=1\nKEY=old\nZ='2'\n", "KEY").with_value(value, PAIRS)
    except EnvFileError:
        return
    path.write_bytes(text.encode())
    assert EnvFile(text, "KEY").value == value
    assert {reader.__name__: reader(path, "KEY") for reader in READERS} == dict.fromkeys(
        [reader.__name__ for reader in READERS], value
    )


@given(text=st.text(st.sampled_from("KEY=ab'\"\\ #\n\r\t$"), max_size=40))
def test_any_text_is_kept_apart_from_the_variable(text: str) -> None:
    try:
        written = EnvFile(text, "KEY").with_value("new", {})
        held = EnvFile(written, "KEY").value
    except EnvFileError:
        return
    assert held == "new"
    if EnvFile(text, "KEY").value is None and "KEY" not in text:
        assert written.startswith(text)
