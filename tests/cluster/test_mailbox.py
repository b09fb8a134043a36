"""A folder as the way between head and workers: taken once, late files waited for, the dead noticed."""

import os
import time
from pathlib import Path

import pytest

from img2mv3d.cluster.mailbox import BEAT, DEAD, HEAD, Letter, Mailbox, saying


@pytest.fixture
def box(tmp_path: Path) -> Mailbox:
    box = Mailbox(tmp_path)
    box.make()
    alive(box, HEAD)
    return box


def alive(box: Mailbox, who: str, ago: float = 0.0) -> None:
    path = box.folder / "alive" / who
    path.touch()
    os.utime(path, (time.time() - ago,) * 2)


def test_a_letter_has_a_name_that_sorts_as_its_number() -> None:
    letters = [Letter(n, 1) for n in (2, 10, 100_000)]
    assert sorted(letter.name for letter in letters) == [letter.name for letter in letters]
    assert Letter.read(letters[1].name + "@here-1") == Letter(10, 1)


def test_a_task_is_taken_once_and_answered(box: Mailbox) -> None:
    box.send(Letter(1, 1), "a", 5)
    assert box.take("one") == (Letter(1, 1), "a", 5) and box.take("two") is None
    box.answer(Letter(1, 1), "done")
    assert box.received() == [(Letter(1, 1), "done")] and box.received() == []
    assert not list((box.folder / "taken").iterdir())


def test_a_half_written_answer_waits(box: Mailbox) -> None:
    (box.folder / "ended" / Letter(1, 1).name).write_bytes(b"\x80")
    assert box.received() == [] and list((box.folder / "ended").iterdir())


def test_tasks_of_the_dead_come_back_by_the_drives_own_clock(box: Mailbox) -> None:
    for number, who in ((1, "well"), (2, "gone"), (3, "never")):
        box.send(Letter(number, 1), "x", 5)
        box.take(who)
    alive(box, HEAD, 1000.0)  # a drive whose clock is behind
    alive(box, "well", 1000.0 + DEAD - BEAT)
    alive(box, "gone", 1000.0 + DEAD + BEAT)
    assert sorted(box.orphans()) == [(Letter(2, 1), "gone"), (Letter(3, 1), "never")]
    assert list(box.orphans()) == [] and box.workers() == ["well"]


def test_a_worker_ends_when_it_is_told_or_the_head_is_gone(box: Mailbox) -> None:
    alive(box, "one")
    assert not box.ended("one")
    alive(box, HEAD, 3 * DEAD)
    assert box.ended("one")
    alive(box, HEAD)
    box.stop()
    assert box.ended("one")


def test_a_sign_of_life_says_how_far_the_task_is(box: Mailbox) -> None:
    said = saying(Letter(7, 2), "stage", {"stage": "depth", "share": 0.5})
    with box.beating("one", lambda: said):
        end = time.monotonic() + 5
        while not box.news() and time.monotonic() < end:
            time.sleep(0.01)
        assert box.news() == [(Letter(7, 2), "stage", {"stage": "depth", "share": 0.5})] and box.lives("one")
    (box.folder / "alive" / "two").write_text(said[:20])  # half written
    assert box.news() == []


def test_signs_of_life_end_with_it(box: Mailbox) -> None:
    with box.beating("one"):
        end = time.monotonic() + 5
        while not box.lives("one") and time.monotonic() < end:
            time.sleep(0.01)
        assert box.lives("one")
    assert not box.lives("one")


def test_a_refusal_is_read(box: Mailbox) -> None:
    assert box.refusal() == ""
    box.refuse("another version")
    assert box.refusal() == "another version"
