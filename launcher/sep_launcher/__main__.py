"""The command `sep`. `--version` is answered before anything else is imported."""

from __future__ import annotations

import signal
import sys
from os import _exit

INTERRUPTED = 130  # ExitCode.INTERRUPTED, before it is imported


def main() -> int:
    """Run the command line; return its exit code."""
    try:
        # An exception amid an import would be told by Python, or lost; nothing is begun yet.
        heard = signal.signal(signal.SIGINT, lambda *_: _exit(INTERRUPTED))
        if heard == signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return _guarded(sys.argv[1:])
    except KeyboardInterrupt:  # while the end was told
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left but to go


def _guarded(argv: list[str]) -> int:
    from sep_launcher.show import streams  # noqa: PLC0415 (Ctrl-C is heard from here on)

    streams.guard()
    return streams.ended(_run(argv))


def _run(argv: list[str]) -> int:
    if argv in (["--version"], ["-V"]):
        from sep_protocol.version import __version__  # noqa: PLC0415 (an instant start)

        sys.stdout.write(f"sep {__version__}\n")
        return 0
    from sep_launcher import cli  # noqa: PLC0415 (an instant start)

    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
