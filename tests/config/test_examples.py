"""Every example loads for a stranger who sets the variables that it names, and fits the published schema."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from rotator.config import load, schema

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(CONFIG.glob("*.yaml"))
README = CONFIG.parent / "README.md"


def environ_of(text):
    return dict.fromkeys(re.findall(r"\{env: (\w+)\}", text), "x")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_fits_the_schema(example):
    text = example.read_text()
    assert text.startswith("# yaml-language-server: $schema=rotator.schema.json\n")
    assert load(example, environ_of(text)).policies
    jsonschema.validate(yaml.safe_load(text), schema(), cls=jsonschema.Draft202012Validator)


def test_the_examples_cover_every_backend():
    assert [example.name for example in EXAMPLES] == ["aws.yaml", "dotenv.yaml", "full.yaml", "vault.yaml"]


def test_the_full_example_says_the_defaults_as_they_are(tmp_path):
    text = (CONFIG / "full.yaml").read_text()
    document = yaml.safe_load(text)
    said = tmp_path / "said.yaml"
    said.write_text(text)
    unsaid = tmp_path / "unsaid.yaml"
    for section in ("defaults", "service", "log"):
        del document[section]
    unsaid.write_text(yaml.safe_dump(document))
    first, second = (load(file, environ_of(text)) for file in (said, unsaid))
    assert (first.service, first.log) == (second.service, second.log)
    assert first.policies[0].lifetime == second.policies[0].lifetime
    assert first.policies[0].digest != ""


def test_the_configuration_of_the_readme_loads(tmp_path):
    text, postgresql = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    for name in ("secret-id", "rotator-db"):
        (tmp_path / name).write_text("x")
    for state in ("", postgresql):
        whole = re.sub(r"^state: .*\n", lambda found: state or found[0], text, flags=re.MULTILINE)  # noqa: B023 - used up here
        file = tmp_path / "rotator.yaml"
        file.write_text(whole.replace("/run/secrets/", f"{tmp_path}/"))
        loaded = load(file, environ_of(text))
        assert loaded.policies[0].name == "prod-inference"
        assert loaded.state_url.startswith("postgresql+psycopg://rotator@" if state else "sqlite:///")


def test_the_published_schema_is_up_to_date_and_strict():
    assert json.loads((CONFIG / "rotator.schema.json").read_text()) == schema()
    jsonschema.Draft202012Validator.check_schema(schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "instance": "x", "providers": {}, "polices": []}, schema())
