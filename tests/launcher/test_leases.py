"""Who has which tracks: by table, and by any order of events that there can be."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sep_launcher.library.leases import DEATHS, Leases

ENDS = ("done", "failed", "quarantined")


def leases(count=3, nodes=("a",)):
    made = Leases([1.0] * count)
    for node in nodes:
        made.join(f"worker-{node}", node)
    return made


def work(made, node, end):
    """Take a lease and begin its first track; `end` says what becomes of it."""
    lease = made.ask(f"worker-{node}")
    made.begin(lease.number, lease.tracks[0])
    if end == "done":
        made.done(lease.number, lease.tracks[0], 1.0)
        made.close(lease.number)
        return lease, None
    return lease, made.died(lease.number, end)


def test_the_largest_go_first():
    made = Leases([1.0, 3.0, 2.0])
    made.join("w", "a")
    assert [made.ask("w").tracks for _ in range(3)] == [(1,), (2,), (0,)]
    assert made.ask("w") is None


def test_a_death_puts_its_track_to_the_end_and_makes_it_careful():
    made = leases()
    lease, _ = work(made, "a", "track")
    assert not lease.careful
    others = [made.ask("worker-a") for _ in range(2)]
    again = made.ask("worker-a")
    assert [each.tracks for each in others] == [(1,), (2,)]
    assert again.tracks == (0,)
    assert again.careful
    assert again.attempts == (2,)


def test_on_one_node_the_third_death_quarantines():
    made = leases(count=1)
    assert [work(made, "a", "track")[1] for _ in range(DEATHS)] == [None, None, 0]
    assert made.states == ["quarantined"]
    assert made.over
    assert not made.banned


def test_on_two_nodes_it_has_to_die_on_both():
    made = leases(count=1, nodes=("a", "b"))
    work(made, "a", "track")
    assert made.ask("worker-a") is None  # b is to try it
    work(made, "b", "track")
    _, quarantined = work(made, "a", "track")  # it died everywhere: anyone may
    assert quarantined == 0


def test_a_track_waits_for_no_node_that_has_left():
    made = leases(count=1, nodes=("a", "b"))
    work(made, "a", "track")
    made.leave("worker-b")
    assert made.ask("worker-a").tracks == (0,)


def test_memory_is_free_once():
    made = leases(count=1)
    lease, _ = work(made, "a", "memory")
    assert made.deaths(0) == 0
    lease, _ = work(made, "a", "memory")
    assert lease.careful
    assert made.deaths(0) == 1


def test_nobody_is_charged_for_a_node_that_went():
    made = leases()
    lease, _ = work(made, "a", "nobody")
    assert made.deaths(0) == 0
    again = made.ask("worker-a")
    assert again.tracks == lease.tracks  # it is the next one again
    assert not again.careful


def test_a_node_on_which_three_tracks_die_is_banned_and_they_are_forgiven():
    made = leases(count=4, nodes=("a", "b"))
    for _ in range(DEATHS):
        work(made, "a", "track")
    assert made.banned == ["a"]
    assert made.ask("worker-a") is None
    assert [made.deaths(track) for track in range(4)] == [0] * 4
    for _ in range(4):
        work(made, "b", "done")
    assert made.over
    assert made.states == ["done"] * 4


def test_a_done_track_clears_its_node():
    made = leases(count=5)
    for end in ("track", "track", "done", "track"):
        work(made, "a", end)
    assert not made.banned


def test_the_only_node_that_is_banned_leaves_the_run_stuck():
    made = leases()
    for _ in range(DEATHS):
        work(made, "a", "track")
    assert made.stuck
    assert made.states == ["waiting"] * 3


def test_what_an_older_lease_says_does_not_count():
    made = leases(count=1, nodes=("a", "b"))
    old = made.ask("worker-a")
    made.died(old.number, "nobody")
    new = made.ask("worker-b")
    assert not made.done(old.number, 0, 1.0)
    assert not made.is_current(old.number, 0)
    assert made.done(new.number, 0, 1.0)
    assert not made.done(new.number, 0, 1.0)


def test_quick_tracks_are_leased_together_and_ever_fewer():
    made = Leases([1.0] * 100)
    made.join("w", "a")
    made.join("v", "a")
    sizes = []
    while (lease := made.ask("w")) is not None:
        sizes.append(len(lease.tracks))
        for track in lease.tracks:
            made.done(lease.number, track, 1.0)
        made.close(lease.number)
    assert sizes[0] == 1  # nothing is known yet
    assert sizes[1] == 24  # a fourth of what is left
    assert sizes[1:] == sorted(sizes[1:], reverse=True)
    assert sizes[-1] == 1


def test_slow_tracks_are_leased_one_by_one():
    made = Leases([100.0] * 20)
    made.join("w", "a")
    lease = made.ask("w")
    made.done(lease.number, 0, 100.0)
    made.close(lease.number)
    assert len(made.ask("w").tracks) == 1


def test_tracks_that_a_job_said_nothing_of_wait_again():
    made = leases(count=1)
    lease = made.ask("worker-a")
    made.close(lease.number)
    assert made.ask("worker-a").tracks == (0,)


def test_a_full_disk_is_left_to_another_node_while_there_is_one():
    made = leases(count=1, nodes=("a", "b"))
    lease = made.ask("worker-a")
    track = lease.tracks[0]
    assert made.refuse(lease.number, track)
    assert made.is_banned("a")
    assert made.ask("worker-a") is None
    there = made.ask("worker-b")
    assert there.tracks == (track,)
    assert there.attempts == (2,)
    assert not made.refuse(there.number, track)
    assert made.fail(there.number, track)


class Runs(RuleBasedStateMachine):
    """Any order of what workers can do. `self.at` is what each has in hand."""

    @initialize(
        sizes=st.lists(st.floats(0.1, 100), min_size=1, max_size=8), nodes=st.integers(1, 3)
    )
    def begin(self, sizes, nodes):
        self.made = Leases(sizes)
        self.at = {}
        self.ended = {}
        self.deaths = 0
        for number in range(2 * nodes):
            self.made.join(f"w{number}", f"n{number % nodes}")
            self.at[f"w{number}"] = None

    def _idle(self):
        return sorted(name for name, lease in self.at.items() if lease is None)

    def _busy(self):
        return sorted(name for name, lease in self.at.items() if lease is not None)

    @precondition(lambda self: self._idle())
    @rule(data=st.data())
    def ask(self, data):
        worker = data.draw(st.sampled_from(self._idle()))
        lease = self.made.ask(worker)
        self.at[worker] = lease
        if lease:
            assert lease.tracks
            assert not any(track in self.ended for track in lease.tracks)

    @precondition(lambda self: self._busy())
    @rule(data=st.data(), good=st.booleans(), seconds=st.floats(0, 100))
    def report(self, data, good, seconds):
        worker = data.draw(st.sampled_from(self._busy()))
        lease = self.at[worker]
        for track in lease.tracks:
            self.made.begin(lease.number, track)
            counted = (
                self.made.done(lease.number, track, seconds)
                if good
                else self.made.fail(lease.number, track)
            )
            assert counted
            assert track not in self.ended
            self.ended[track] = "done" if good else "failed"
        self.made.close(lease.number)
        self.at[worker] = None

    @precondition(lambda self: self._busy())
    @rule(data=st.data(), blame=st.sampled_from(["track", "memory", "node", "nobody"]))
    def die(self, data, blame):
        worker = data.draw(st.sampled_from(self._busy()))
        lease = self.at[worker]
        track = data.draw(st.sampled_from(lease.tracks))
        self.made.begin(lease.number, track)
        poison = self.made.died(lease.number, blame)
        if poison is not None:
            assert blame in ("track", "memory")
            assert poison == track
            assert self.made.deaths(track) >= DEATHS
            self.ended[poison] = "quarantined"
        assert not self.made.done(lease.number, track, 1.0)
        self.at[worker] = None

    @precondition(lambda self: self._busy())
    @rule(data=st.data())
    def refuse(self, data):
        lease = self.at[data.draw(st.sampled_from(self._busy()))]
        if self.made.refuse(lease.number, lease.tracks[0]):
            assert self.made.is_banned(lease.node)
            assert not self.made.is_current(lease.number, lease.tracks[0])
            for track in lease.tracks[1:]:
                assert self.made.is_current(lease.number, track)
            self.made.close(lease.number)
            self.at[lease.worker] = None

    @precondition(lambda self: len(self.at) > 1 and self._idle())
    @rule(data=st.data())
    def leave(self, data):
        worker = data.draw(st.sampled_from(self._idle()))
        self.made.leave(worker)
        del self.at[worker]

    @invariant()
    def every_track_is_in_one_place(self):
        if not hasattr(self, "made"):
            return
        leased = [track for lease in self.at.values() if lease for track in lease.tracks]
        assert len(leased) == len(set(leased))
        for track, state in enumerate(self.made.states):
            assert (state == "leased") == (track in leased)
            assert (state in ENDS) == (track in self.ended)
            if state in ENDS:
                assert state == self.ended[track]
        assert self.made.waiting + len(leased) + len(self.ended) == len(self.made.states)
        assert self.made.over == (len(self.ended) == len(self.made.states))

    def teardown(self):
        """Whatever came before, a healthy worker on a healthy node brings it to its end."""
        if not hasattr(self, "made"):
            return
        for worker, lease in self.at.items():
            if lease:
                self.made.died(lease.number, "nobody")
            self.made.leave(worker)
        self.made.join("fresh", "fresh node")
        for _ in range(len(self.made.states) + 1):
            if self.made.over:
                break
            lease = self.made.ask("fresh")
            assert lease is not None
            for track in lease.tracks:
                assert self.made.done(lease.number, track, 1.0)
            self.made.close(lease.number)
        assert self.made.over


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
