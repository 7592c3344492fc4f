"""`--from-mix` and `--resume` need no value, and can have one.

The parser knows options with a value and without, and takes the next word for one in any case. What
follows `--from-mix` is one only where it names a model, and `--resume` has one only behind a `=`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine import disk
from sep_launcher.planning import models
from sep_launcher.planning.request import AUTO
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPTION = "--from-mix"
RESUME = "--resume"
VERIFY = "--resume-verify"  # what `--resume=verify` is for the parser, besides `--resume`
COMMAND = "run"
GLOBS = "*?["


def valued(argv: Sequence[str]) -> list[str]:
    """Return the command line with a value for every option that may be without one.

    Raises UsageError for a value of `--resume` that is none.
    """
    return list(_valued(argv)) if argv[:1] == [COMMAND] else list(argv)


def _valued(argv: Sequence[str]) -> Iterator[str]:
    end = argv.index("--") if "--" in argv else len(argv)
    for number, word in enumerate(argv):
        following = argv[number + 1] if number + 1 < end else None
        bare = word == OPTION and number < end and not _is_value(following)
        if word.startswith(f"{RESUME}=") and word != f"{RESUME}=verify" and number < end:
            raise UsageError(f"{word}: --resume has no value, or verify", hint="sep run --help")
        if word == f"{RESUME}=verify" and number < end:
            yield RESUME
            yield VERIFY
        else:
            yield f"{OPTION}={AUTO}" if bare else word


def _is_value(word: str | None) -> bool:
    """Say whether a word names a model, also one that there is not, and no files."""
    if word is None or word.startswith("-"):
        return False
    if word in models.named_for_songs() or word in models.names():
        return True
    path = Path(word)
    if path.suffix.lower() in models.CHECKPOINTS:
        return True
    separators = {os.sep, os.altsep or os.sep, "/"}
    return not (disk.exists(path) or path.suffix or set(word) & {*separators, *GLOBS})
