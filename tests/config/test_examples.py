"""Every example loads for a stranger who sets the variables that it names, and fits the published schema."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from rotator.config import load, schema
from tests.config.conftest import ENVIRON
from tests.parts.certificates import Authority

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(set(CONFIG.glob("*.yaml")) - {CONFIG / "alerts.yaml"})  # that one is for Prometheus
README = CONFIG.parent / "README.md"


def environ_of(text):
    return {**dict.fromkeys(re.findall(r"\{env: (\w+)\}", text), "x"), "WEBHOOK_SECRET": ENVIRON["SIGNING"]}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_fits_the_schema(example):
    text = example.read_text()
    assert text.startswith("# yaml-language-server: $schema=rotator.schema.json\n")
    assert load(example, environ_of(text)).policies
    jsonschema.validate(yaml.safe_load(text), schema(), cls=jsonschema.Draft202012Validator)


def test_the_examples_cover_every_backend():
    assert [example.name for example in EXAMPLES] == [
        "assisted.yaml",
        "aws.yaml",
        "dotenv.yaml",
        "full.yaml",
        "vault.yaml",
    ]


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


def test_the_full_example_names_every_field_that_there_is():
    text = (CONFIG / "full.yaml").read_text()
    made = schema()
    shapes = {"Document": made, **made["$defs"]}
    fields = {(shape, field) for shape, given in shapes.items() for field in given.get("properties", {})}
    assert {(shape, field) for shape, field in fields if not re.search(rf"(?<!\w){field}:", text)} == set()


COMMENTED = [line for line in (CONFIG / "full.yaml").read_text().splitlines() if re.match(r" +# [a-z_]+: ", line)]


@pytest.mark.parametrize("line", COMMENTED, ids=str.strip)
def test_each_field_that_is_a_comment_in_the_full_example_fits_the_schema(line):
    """Of two fields of one name, YAML's plain reader takes the later one."""
    text = (CONFIG / "full.yaml").read_text().replace(line, line.replace("# ", "", 1))
    jsonschema.validate(yaml.safe_load(text), schema(), cls=jsonschema.Draft202012Validator)


def test_the_configuration_of_the_readme_loads(tmp_path):
    pages = (README, README.with_name("docs") / "postgresql.md")
    text, postgresql = re.findall(r"```yaml\n(.*?)```", "".join(page.read_text() for page in pages), re.DOTALL)
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


def test_every_default_in_the_schema_is_what_the_file_may_say():
    made = schema()
    assert made["properties"]["service"]["default"]["lease"] == "5m"
    found = list(with_defaults(made))
    assert len(found) > 50
    for given in found:
        if given["default"] is not None:  # nothing: as if it were not said
            jsonschema.validate(given["default"], {**given, "$defs": made["$defs"]}, jsonschema.Draft202012Validator)


def with_defaults(node):
    """Each part of the schema that has a default."""
    if isinstance(node, dict) and "default" in node and "properties" not in node:
        yield node
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from with_defaults(one)


def commented(word):
    """The lines of the Vault example that are commented out, by the field that they begin with."""
    lines = (CONFIG / "vault.yaml").read_text().splitlines()
    return [line.strip().removeprefix("# ") for line in lines if line.startswith(f"    # {word}:")]


def example_with(tmp_path, lines):
    """The Vault example with these lines instead of its login; the files that they name are there."""
    text = (CONFIG / "vault.yaml").read_text().replace("    auth: {method: approle", "    # auth: {method: approle", 1)
    text = text.replace("8200\n", "8200\n" + "".join(f"    {line}\n" for line in lines), 1)
    certificate, key = Authority(tmp_path).sign("rotator.internal", client=True)
    files = {"/etc/rotator/client.pem": certificate, "/etc/rotator/client-key.pem": key}
    files["/etc/ssl/internal-ca.pem"] = tmp_path / "ca.pem"
    for name in ("/run/vault-agent/token", "/run/secrets/wrapped", "/run/secrets/id-token"):
        files[name] = tmp_path / name.rsplit("/", 1)[-1]
        files[name].write_text("x")
    for name, file in files.items():
        text = text.replace(name, str(file))
    service_account = tmp_path / "service-account"
    service_account.write_text("x")
    text = text.replace("method: kubernetes,", f"method: kubernetes, token_file: {service_account},")
    (tmp_path / "vault.yaml").write_text(text)
    return text


@pytest.mark.parametrize("login", commented("auth"))
def test_each_login_that_the_vault_example_names_loads_and_fits_the_schema(login, tmp_path):
    certificate = commented("client_cert") + commented("client_key") if "cert" in login else []
    text = example_with(tmp_path, [login, *certificate])
    assert load(tmp_path / "vault.yaml", environ_of(text)).backends["vault"]
    jsonschema.validate(yaml.safe_load(text), schema(), cls=jsonschema.Draft202012Validator)


def test_the_vault_example_names_every_login():
    methods = {yaml.safe_load(login)["auth"]["method"] for login in commented("auth")}
    assert methods == {"token", "token_file", "approle", "kubernetes", "jwt", "cert", "aws", "userpass"}


def test_all_that_the_vault_example_says_of_the_connection_loads_together(tmp_path):
    words = ("namespace", "ca_file", "client_cert", "client_key", "server_name", "proxy", "nodes")
    text = example_with(tmp_path, [commented("auth")[0], *(commented(word)[0] for word in words)])
    loaded = load(tmp_path / "vault.yaml", environ_of(text)).backends["vault"]
    assert (loaded.server_name, loaded.namespace, len(loaded.nodes)) == ("vault.example.internal", "team-a", 2)
    jsonschema.validate(yaml.safe_load(text), schema(), cls=jsonschema.Draft202012Validator)


def test_the_destinations_of_the_page_on_operating_load(tmp_path):
    """As a whole, in one policy: each form that the page shows is one that rotator takes."""
    page = (README.with_name("docs") / "operating.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    shown = [block["destinations"] for block in blocks if "hooks" not in block]
    document = yaml.safe_load((CONFIG / "full.yaml").read_text())
    for number, destinations in enumerate(shown):
        document["policies"] = [{"name": "chat", "provider": "together", "project": "p", "destinations": destinations}]
        document["backends"]["dotenv"] = {"type": "dotenv"}
        del document["include"]
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(document))
        assert len(load(file, environ_of((CONFIG / "full.yaml").read_text())).policies[0].destinations) > 1
        document["include"] = []
    assert len(shown) == 2


def test_the_hooks_of_the_page_on_operating_load(tmp_path):
    page = (README.with_name("docs") / "operating.md").read_text()
    (shown,) = re.findall(r"```yaml\n(hooks:\n.*?)```", page, re.DOTALL)
    document = yaml.safe_load((CONFIG / "full.yaml").read_text())
    document["hooks"] = yaml.safe_load(shown)["hooks"]
    document["policies"][0]["hooks"] = yaml.safe_load(shown)["policies"][0]["hooks"]
    file = tmp_path / "rotator.yaml"
    file.write_text(yaml.safe_dump(document))
    loaded = load(file, environ_of((CONFIG / "full.yaml").read_text()))
    assert loaded.policies[0].hooks == ("chat-reload", "tell-gateway")
    assert set(loaded.hooks) == {"chat-reload", "deploy", "tell-gateway"}
