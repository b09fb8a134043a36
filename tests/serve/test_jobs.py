"""The queue: states, numbered events, equal posts, what is kept and for how long."""

import threading
from itertools import count

import pytest

from img2mv3d.serve.jobs import CANCELLED, DONE, FAILED, QUEUED, RUNNING, FullError, Job, Jobs


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(clock: Clock) -> Jobs:
    numbers = count(1)
    return Jobs(limit=3, keep=50.0, clock=clock, make_id=lambda: f"id{next(numbers)}")


def post(jobs: Jobs, key: str, **more: object) -> Job:
    job, new = jobs.submit("cup.jpg", {"seed": 0}, key, **more)
    if new:
        jobs.enqueue(job)
    return job


def kinds(jobs: Jobs, job: Job, after: int = 0) -> list[str]:
    return [kind for _, kind, _ in jobs.events(job, after)]


def test_runs_are_taken_in_their_order_and_end_once(jobs: Jobs) -> None:
    first, second = post(jobs, "a"), post(jobs, "b")
    assert jobs.describe(second)["place"] == 2
    assert jobs.take() is first and first.state == RUNNING and jobs.describe(second)["place"] == 1
    jobs.tell(first, "stage", {"stage": "prepare"})
    jobs.finish(first, DONE, facts={"file": "mesh.glb"})
    jobs.finish(first, FAILED, "too late")
    assert (first.state, first.reason) == (DONE, "") and jobs.describe(first)["file"] == "mesh.glb"
    assert kinds(jobs, first) == ["queued", "running", "stage", "done"]
    assert jobs.take() is second and jobs.take(0.01) is None


def test_a_run_whose_files_are_not_yet_there_is_not_taken(jobs: Jobs) -> None:
    job, _ = jobs.submit("cup.jpg", {}, "a")
    assert jobs.take(0.01) is None
    jobs.enqueue(job)
    assert jobs.take(0.01) is job


def test_a_full_queue_refuses_and_running_ones_do_not_count(jobs: Jobs) -> None:
    for key in "abc":
        post(jobs, key)
    assert jobs.full()
    with pytest.raises(FullError, match="3 runs wait"):
        post(jobs, "d")
    jobs.take()
    assert not jobs.full() and post(jobs, "d").state == QUEUED


def test_equal_posts_share_one_run_unless_it_failed(jobs: Jobs) -> None:
    first = post(jobs, "a")
    assert post(jobs, "a") is first
    jobs.take()
    assert post(jobs, "a") is first
    jobs.finish(first, DONE)
    assert post(jobs, "a") is first
    other = post(jobs, "b")
    jobs.take()
    jobs.finish(other, FAILED, "so")
    assert post(jobs, "b") is not other


def test_events_are_numbered_from_1_and_replayed_from_any_number(jobs: Jobs) -> None:
    job = post(jobs, "a")
    jobs.take()
    jobs.tell(job, "note", {"text": "x"})
    assert jobs.events(job, 1) == [(2, "running", {}), (3, "note", {"text": "x"})]
    assert jobs.events(job, 9) == []


def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_when_its_worker_stops(jobs: Jobs) -> None:
    first, second = post(jobs, "a", kept=False), post(jobs, "b", kept=False)
    jobs.take()
    for job in (first, second):
        jobs.wait(job, 1), jobs.wait(job, -1)
    assert second.state == CANCELLED
    assert first.state == RUNNING and first.stop.is_set()
    jobs.finish(first, DONE)
    assert (first.state, first.reason) == (CANCELLED, "the caller hung up")


def test_who_hangs_up_cancels_unless_somebody_else_wants_the_run(jobs: Jobs) -> None:
    alone = post(jobs, "a", kept=False)
    jobs.wait(alone, 1), jobs.wait(alone, -1)
    assert alone.state == CANCELLED and "hung up" in alone.reason
    shared = post(jobs, "b", kept=False)
    jobs.wait(shared, 1), jobs.wait(shared, 1), jobs.wait(shared, -1)
    assert shared.state == QUEUED
    post(jobs, "b")  # this one will come for it later
    jobs.wait(shared, -1)
    assert shared.state == QUEUED


def test_deleting_a_run_takes_its_variants_along(jobs: Jobs) -> None:
    first = post(jobs, "a")
    variant = post(jobs, "b", parent=first.id)
    assert jobs.delete(first.id) == [first, variant] and jobs.all() == []
    assert variant.state == CANCELLED and jobs.get(first.id) is None


def test_what_ended_long_ago_is_forgotten(jobs: Jobs, clock: Clock) -> None:
    old, waiting = post(jobs, "a"), post(jobs, "b")
    jobs.take()
    jobs.finish(old, DONE)
    clock.now += 49
    assert jobs.expire() == []
    clock.now += 2
    assert jobs.expire() == [old] and jobs.all() == [waiting]


def test_the_forecast_is_the_middle_time_of_what_ended(jobs: Jobs, clock: Clock) -> None:
    for key, seconds in (("a", 10), ("b", 30), ("c", 20)):
        job = post(jobs, key)
        jobs.take()
        clock.now += seconds
        jobs.finish(job, DONE)
        clock.now -= seconds
    assert jobs.describe(post(jobs, "d"))["wait_seconds"] == 20


def test_the_end_wakes_whoever_waits_for_a_run(jobs: Jobs) -> None:
    found: list[Job | None] = []
    thread = threading.Thread(target=lambda: found.append(jobs.take()))
    thread.start()
    jobs.close()
    thread.join(5)
    assert found == [None]


def test_ids_cannot_be_guessed() -> None:
    plain = Jobs(1000)
    ids = {post(plain, str(n)).id for n in range(200)}
    assert len(ids) == 200 and min(map(len, ids)) >= 22
