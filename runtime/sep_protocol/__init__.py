"""The whole contract between launcher and runtime: one Job file in, one Event per line out, errors.

A new field with a default keeps `PROTOCOL`; anything else bumps it. Standard library only.
"""

from __future__ import annotations

from sep_protocol.events import (
    Benched,
    DeviceChosen,
    Done,
    Event,
    Failed,
    Fallback,
    Hello,
    Measured,
    ModelLoaded,
    Phase,
    Progress,
    TrackDone,
    TrackFailed,
    Warned,
    dump_event,
    load_event,
)
from sep_protocol.job import (
    REPORT,
    Bench,
    Install,
    Job,
    Model,
    Output,
    Precision,
    Published,
    Track,
    dump_job,
    escaped,
    fill,
    load_job,
    map_paths,
    speed_fault,
)
from sep_protocol.version import PROTOCOL, __version__

__all__ = [
    "PROTOCOL",
    "REPORT",
    "Bench",
    "Benched",
    "DeviceChosen",
    "Done",
    "Event",
    "Failed",
    "Fallback",
    "Hello",
    "Install",
    "Job",
    "Measured",
    "Model",
    "ModelLoaded",
    "Output",
    "Phase",
    "Precision",
    "Progress",
    "Published",
    "Track",
    "TrackDone",
    "TrackFailed",
    "Warned",
    "__version__",
    "dump_event",
    "dump_job",
    "escaped",
    "fill",
    "load_event",
    "load_job",
    "map_paths",
    "speed_fault",
]
