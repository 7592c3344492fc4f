"""The command `sep`. `--version` is answered before anything heavy is imported."""

from __future__ import annotations

import sys

from sep_launcher.show import streams
from sep_protocol.errors import ExitCode


def main() -> None:
    """Run the command line and leave with its exit code."""
    streams.guard()
    try:
        code: int = _run(sys.argv[1:])
    except KeyboardInterrupt:  # while all of it was imported
        code = ExitCode.INTERRUPTED
    sys.exit(streams.ended(code))


def _run(argv: list[str]) -> int:
    if argv in (["--version"], ["-V"]):
        from sep_protocol.version import __version__  # noqa: PLC0415 (an instant start)

        sys.stdout.write(f"sep {__version__}\n")
        return 0
    from sep_launcher import cli  # noqa: PLC0415 (an instant start)

    return cli.main(argv)


if __name__ == "__main__":
    main()
