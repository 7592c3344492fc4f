"""torch is imported without what only fake tensors need; whoever needs it gets it."""

import subprocess
import sys

PRINTED = """
import sys
from sep_runtime import lean
{leave}
import torch
print("torch._decomp" in sys.modules)
{then}
"""


def said(leave, then):
    code = PRINTED.format(leave=leave, then=then)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_is_left_out():
    work = "print(torch.nn.Conv1d(2, 2, 3)(torch.ones(1, 2, 8)).shape[-1])"
    assert said("lean.leave_out()", work) == ["False", "6"]
    assert said("", work) == ["True", "6"]  # or this version of torch does not need us any more


def test_whoever_asks_for_it_gets_it():
    asked = """
from torch import _meta_registrations
_meta_registrations.register_meta
print(sys.modules["torch._meta_registrations"].__file__ is not None, "torch._decomp" in sys.modules)
print(torch.empty(2, 3, device="meta").sum(0).shape[0])
"""
    assert said("lean.leave_out()", asked) == ["False", "True", "True", "3"]


def test_a_torch_that_is_here_already_is_left_alone():
    import torch

    from sep_runtime import lean

    before = sys.modules["torch._meta_registrations"]
    lean.leave_out()
    assert sys.modules["torch._meta_registrations"] is before
    assert torch.empty(1, device="meta").is_meta
