"""The error tree: drawn in its docstring, one code per class."""

import re

from sep_protocol import errors


def test_the_drawing_is_the_tree():
    drawn = dict(re.findall(r"[├└]─ (\w+) +(\d+) ", errors.__doc__))
    real = {
        name: str(int(kind.code))
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.SepError)
    }
    real.pop("SepError")
    assert drawn == real


def test_message_and_hint():
    fault = errors.ModelError("no model", hint="sep models list")
    assert (fault.code, fault.message, fault.hint, str(fault)) == (
        16,
        "no model",
        "sep models list",
        "no model",
    )
