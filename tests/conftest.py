"""Real parts for every test; each module starts one of them, and fails where it can't."""

pytest_plugins = [
    "tests.parts.aws",
    "tests.parts.openbao",
    "tests.parts.postgres",
    "tests.parts.simulator",
    "tests.parts.strict_aws",
]
