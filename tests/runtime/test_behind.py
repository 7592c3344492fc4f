"""The last stage of a pipeline: in order, bounded, its errors told, its thread always gone."""

import threading
import time

import pytest

from sep_runtime.streams.behind import Behind


def left():
    return [each for each in threading.enumerate() if each.name == "write x"]


def test_items_come_in_order_and_the_end_after_them():
    seen = []
    with Behind(seen.append, lambda: seen.append("end"), 2, "write x") as behind:
        for i in range(20):
            behind.put(i)
        behind.end()
        behind.finish()
    assert seen == [*range(20), "end"]
    assert not left()


def test_no_more_than_its_depth_is_waiting():
    go, seen = threading.Semaphore(0), []

    def take(item):
        go.acquire()
        seen.append(item)

    given = []
    with Behind(take, list, 2, "write x") as behind:

        def give():
            for i in range(6):
                behind.put(i)
                given.append(i)

        giver = threading.Thread(target=give)
        giver.start()
        time.sleep(0.3)
        assert len(given) <= 3  # one in work, two that wait
        go.release(6)
        giver.join()
        behind.end()
        behind.finish()
    assert seen == given == [*range(6)]


@pytest.mark.parametrize("when", ["take", "last"])
def test_what_goes_wrong_is_raised_to_whoever_gives(when):
    def fail(*_):
        raise OSError(28, "no space")

    take, last = (fail, list) if when == "take" else (lambda _: None, fail)

    def run():
        with Behind(take, last, 2, "write x") as behind:
            for i in range(100):
                behind.put(i)
            behind.end()
            behind.finish()

    with pytest.raises(OSError, match="no space"):
        run()
    assert not left()


def test_whoever_leaves_early_leaves_no_end_and_no_thread():
    seen = []

    def run():
        with Behind(seen.append, lambda: seen.append("end"), 2, "write x") as behind:
            behind.put(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert "end" not in seen
    assert not left()
