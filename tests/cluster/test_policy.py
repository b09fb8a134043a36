"""The policy: bounded, in order of the list, tried again where that helps, set aside where it does not."""

from collections.abc import Iterator

import pytest

from img2mv3d.cluster.engine import Ended
from img2mv3d.cluster.policy import KILLS, LOSSES, Schedule, drive
from img2mv3d.errors import ResourceError
from img2mv3d.serve.workers import Outcome
from tests.cluster.desk import Desk

GOOD, BAD = Outcome(True), Outcome(False, "no object in the photo")


def well(attempt: int) -> Outcome:
    return GOOD


def lost(*words: str):
    """A task that is lost as the words say, one after the other, and then done."""
    return lambda attempt: words[attempt] if attempt < len(words) else GOOD


def test_tasks_are_drawn_as_seats_become_free() -> None:
    drawn = []

    def many() -> Iterator:
        for number in range(100):
            drawn.append(number)
            yield well

    desk = Desk(seats=3)
    for done, (number, outcome) in enumerate(drive(desk, many(), 1), start=1):
        assert outcome.ok and number < len(drawn) <= done + 3
    assert done == 100 and desk.most_busy == 3 and desk.cancelled == 1


def test_bad_input_is_told_once_and_never_tried_again() -> None:
    desk = Desk()
    assert dict(drive(desk, [well, lambda attempt: BAD, well], 1)) == {0: GOOD, 1: BAD, 2: GOOD}
    assert [number for number, _ in desk.log] == [0, 1, 2]


def test_what_is_lost_with_its_node_comes_next_and_is_done() -> None:
    desk, heard = Desk(seats=1), []
    done = [number for number, _ in drive(desk, [lost("node", "node"), well, well], 1, heard.append)]
    assert done == [0, 1, 2] and [n for n, _ in desk.log] == [0, 0, 0, 1, 2]
    again = [news.data for news in heard if news.kind == "again"]
    assert again == [{"lost": "node", "why": "node went"}] * 2
    assert [news.data["attempt"] for news in heard if news.kind == "begun"] == [1, 2, 3, 1, 1]


def test_what_kills_its_process_comes_last_and_is_set_aside_the_third_time() -> None:
    desk = Desk(seats=1)
    found = dict(drive(desk, [lost(*["killed"] * 9), well, well], 1))
    assert [n for n, _ in desk.log] == [0, 1, 2] + [0] * (KILLS - 1)
    assert not found[0].ok and found[0].reason == "set aside: its process died 3 times (killed went)"
    assert found[1] == found[2] == GOOD


def test_what_took_too_much_memory_gets_twice_as_much_up_to_what_there_is() -> None:
    desk = Desk(seats=1, most_memory=3)
    assert dict(drive(desk, [lost("memory", "memory"), well], 1))[0].ok
    assert desk.log == [(0, 1), (1, 1), (0, 2), (0, 3)]


def test_losses_of_nodes_end_at_last() -> None:
    found = dict(drive(Desk(), [lost(*["node"] * 50)], 1))
    assert found[0].reason == f"set aside: lost with its node {LOSSES} times (node went)"


def test_workers_that_cannot_start_end_it_all_unless_others_can() -> None:
    desk = Desk(seats=1)
    with pytest.raises(ResourceError, match="no worker can start: start went"):
        list(drive(desk, [lost(*["start"] * 9)] * 100, 1))
    assert len(desk.log) == 3 and desk.cancelled == 1
    assert len(dict(drive(Desk(seats=3), [lost("start"), well] * 20, 1))) == 40


def test_an_end_that_nobody_waits_for_is_not_heard() -> None:
    schedule = Schedule([well, well], 1, 1)
    first = schedule.next()
    assert first is not None and schedule.ended(Ended(0, GOOD, "node")) is None
    assert schedule.next() == first.lost("node", 1)
    assert schedule.ended(Ended(0, GOOD)) == GOOD and schedule.ended(Ended(0, BAD)) is None
    assert not schedule.over


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ZeroDivisionError])
def test_the_engine_is_cancelled_however_it_ends(stop: type[BaseException]) -> None:
    desk = Desk()
    with pytest.raises(stop):
        for _ in drive(desk, [well] * 5, 1):
            raise stop
    assert desk.cancelled == 1 and not desk.busy


def test_no_tasks_are_no_work() -> None:
    assert list(drive(Desk(), [], 1)) == []
