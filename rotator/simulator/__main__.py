"""``python -m rotator.simulator --port 0 --seed FILE --faults FILE``: prints its base URL when it is ready."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rotator.simulator.server import BadFile, serve

_USAGE = 2


def announce(base_url: str) -> None:
    """One line, so that whoever started the process can read where it listens."""
    sys.stdout.write(base_url + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read the command line and serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m rotator.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (its control API has no password)")
    parser.add_argument("--port", default=0, type=int, help="0 picks a free one")
    parser.add_argument("--seed", type=Path, help="JSON file with organisations, projects, users and keys")
    parser.add_argument("--faults", type=Path, help="YAML or JSON file that says what goes wrong, and when")
    arguments = parser.parse_args()
    try:
        serve(
            host=arguments.host,
            port=arguments.port,
            seed_file=arguments.seed,
            faults_file=arguments.faults,
            announce=announce,
        )
    except (OSError, BadFile) as problem:
        sys.stderr.write(f"error: {problem}\n")
        return _USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
