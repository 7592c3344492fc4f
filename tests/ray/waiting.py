"""Waiting for processes and for what they do."""

import time

import psutil


def gone(pid, within):
    """Say how many seconds a process took to be gone; more than `within` fails."""
    begun = time.monotonic()
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - begun < within, f"{pid} is there after {within} s"
        time.sleep(0.02)
    return time.monotonic() - begun


def until(true, within=30.0):
    """Wait until something is true, and return it."""
    begun = time.monotonic()
    while not (found := true()):
        assert time.monotonic() - begun < within
        time.sleep(0.02)
    return found
