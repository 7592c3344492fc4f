"""Every error that a person can meet, and the exit code that a script sees.

SepError
├─ UsageError          2  the command, the Job or the call is not valid; a ValueError, too
├─ PathError           3  a named path is missing, nothing matches, output cannot be written
│  └─ ExistsError      3  stems are there already, and may be replaced or left if that is wished
├─ NoRouteError       10  no engine on this machine can do it
├─ EngineError        11  the engine cannot be reached
├─ NotReadyError      12  image or environment missing or stale
├─ DeviceError        13  the named device is not available
├─ MemoryLimitError   14  out of memory
├─ RuntimeFailedError 15  the runtime failed or vanished
├─ ModelError         16  model missing or corrupt
├─ InterruptedJob    130  Ctrl-C, or the launcher is gone
└─ TrackError          1  this track cannot be done, others may be
   ├─ AudioError       1  its audio cannot be read or separated
   ├─ DiskFullError    1  there is no room for its stems
   └─ QuarantinedError 1  the runtime died at it again and again

Messages are lower case without a full stop; the hint is what to do next, and `command` the same for
the command line, where that has words of its own: who calls from Python has no `--downmix`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns; the words are the ones of `--json`."""

    OK = 0
    TRACK_FAILED = 1
    USAGE = 2
    PATH = 3
    NO_ROUTE = 10
    ENGINE = 11
    NOT_READY = 12
    DEVICE = 13
    MEMORY = 14
    RUNTIME = 15
    MODEL = 16
    BUG = 70
    INTERRUPTED = 130


def filled(template: str, path: str | None) -> str:
    """Return a message with its path in its place."""
    return template if path is None else template.replace("{path}", path)


class SepError(Exception):
    """An error with an exit code, one sentence for people and what to do next."""

    code = ExitCode.BUG

    def __init__(
        self, message: str, hint: str = "", path: str | None = None, *, command: str = ""
    ) -> None:
        """Make an error; `{path}` in the message stands for a path as this process sees it.

        Kept apart, it can be translated when the error crosses into another view of the files.
        The hint is a note of the exception, so that a traceback ends with it.
        """
        self.template = message
        self.path = path
        self.message = filled(message, path)
        self.hint = hint
        self.command = command or hint
        super().__init__(self.message)
        if hint:
            self.add_note(hint)


class UsageError(SepError, ValueError):
    """The command, the Job or the call is not valid."""

    code = ExitCode.USAGE


class PathError(SepError):
    """A named path is missing, nothing matches, or output cannot be written; before any work."""

    code = ExitCode.PATH


class ExistsError(PathError):
    """Stems of the same song are there already: they may be replaced or left, if that is wished."""


class NoRouteError(SepError):
    """No engine on this machine can do the job."""

    code = ExitCode.NO_ROUTE


class EngineError(SepError):
    """The engine cannot be reached."""

    code = ExitCode.ENGINE


class NotReadyError(SepError):
    """The image or the environment is missing or of another version."""

    code = ExitCode.NOT_READY


class DeviceError(SepError):
    """The device that the user named is not available."""

    code = ExitCode.DEVICE


class MemoryLimitError(SepError):
    """The machine, the container or the device has too little memory."""

    code = ExitCode.MEMORY


class RuntimeFailedError(SepError):
    """The runtime failed, or ended without a last word."""

    code = ExitCode.RUNTIME


class ModelError(SepError):
    """The model is missing, corrupt, or not what its settings say."""

    code = ExitCode.MODEL


class InterruptedJob(SepError):  # noqa: N818 (an interruption is no error)
    """The user or the end of the launcher stopped the job."""

    code = ExitCode.INTERRUPTED


class TrackError(SepError):
    """This track cannot be done; the batch goes on."""

    code = ExitCode.TRACK_FAILED


class AudioError(TrackError):
    """The track's audio cannot be read or separated."""


class DiskFullError(TrackError):
    """There is no room for the track's stems where they are to be, or are made."""


class QuarantinedError(TrackError):
    """The runtime died at the track again and again; it is not tried any more."""
