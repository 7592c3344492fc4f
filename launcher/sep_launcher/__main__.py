"""The command `sep`. `--version` is answered before anything else is imported."""

from __future__ import annotations

import sys

INTERRUPTED = 130  # ExitCode.INTERRUPTED, before it is imported


def main() -> int:
    """Run the command line; return its exit code."""
    try:
        from sep_launcher.show import streams  # noqa: PLC0415 (Ctrl-C is heard from here on)

        streams.guard()
        return streams.ended(_run(sys.argv[1:]))
    except KeyboardInterrupt:  # while it was imported: the rest hears it itself
        return INTERRUPTED


def _run(argv: list[str]) -> int:
    if argv in (["--version"], ["-V"]):
        from sep_protocol.version import __version__  # noqa: PLC0415 (an instant start)

        sys.stdout.write(f"sep {__version__}\n")
        return 0
    from sep_launcher import cli  # noqa: PLC0415 (an instant start)

    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
