"""The console script. ``--version`` is answered before anything else is imported."""

import sys

from rotator import __version__


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"rotator {__version__}\n")
        return
    from rotator.entrypoints.cli import cli  # noqa: PLC0415 - see the module's docstring
    from rotator.entrypoints.output import end_with  # noqa: PLC0415 - likewise

    end_with(lambda: cli(prog_name="rotator"))


if __name__ == "__main__":
    main()
