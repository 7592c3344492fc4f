"""How what strangers wrote is shown in messages: short, on one line, harmless to a terminal."""

from __future__ import annotations

MOST = 80  # characters


def shown(value: object) -> str:
    """Return a plain value as Python writes it, of anything else its kind; never its inside."""
    if isinstance(value, str):
        return repr(value[:MOST]) + ("..." if len(value) > MOST else "")
    if value is None:
        return "nothing"
    if isinstance(value, bool | int | float):
        return repr(value)[:MOST]
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
