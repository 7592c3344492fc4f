"""What a runtime says of several models."""

import pytest

from sep_launcher.engines.listener import Listener
from sep_protocol import Hello, Job, Model, ModelLoaded, dump_event
from sep_protocol.errors import DeviceError

MINI = Model(name="mini")
MINE = Model(name="mine", checkpoint="/x/mine.ckpt")


def hear(event, **options):
    job = Job(id="0000000a", tracks=(), **{"model": MINI, **options})
    listener = Listener(job, "who", "mend")
    listener.event(dump_event(Hello(job="x")))
    return listener.event(dump_event(event))


def test_a_precision_that_was_named_is_that_of_every_model():
    song = Model(name="song")
    for name in ("song", "mini"):
        said = ModelLoaded(model=name, precision="fp16", batch=1)
        assert hear(said, from_mix=song, precision="fp16") == said
        with pytest.raises(DeviceError, match=f"the runtime computes {name} in fp16"):
            hear(said, from_mix=song, precision="bf16")
    with pytest.raises(DeviceError, match="the runtime computes in fp16"):
        hear(ModelLoaded(model="mini", precision="fp16", batch=1), precision="bf16")
