"""The command `sep`. `--version` is answered before anything else is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from sep_protocol.version import __version__  # noqa: PLC0415 (an instant start)

        sys.stdout.write(f"sep {__version__}\n")
        return
    from sep_launcher import cli  # noqa: PLC0415 (an instant start)

    sys.exit(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
