"""The one place of both version numbers; the build reads the first."""

__version__ = "0.1.0"

PROTOCOL = 1
