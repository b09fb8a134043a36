"""Who learns, decides and judges: the lists are as large as promised, and never meet."""

from img2mv3d.data.corpus import Entry
from img2mv3d.data.held_out import HELD_OUT
from img2mv3d.data.splits import ids, learners


def _entry(name: str, **changes) -> Entry:
    given = {"licence": "CC0-1.0", "category": "x", "split": "train", "cutout": False, "faces": 9, "vertices": 9}
    return Entry(id=name, source=name.split("-", 1)[0], weight=1.0, **{**given, **changes})


def test_twelve_decide_sixty_five_judge_and_none_does_both():
    assert len(ids("dev")) == 12 and len(ids("test")) == 65
    assert all(name.split("-")[0] in ("gso", "ycb") for name in ids("dev"))
    assert sum(name.split("-")[0] in ("gso", "ycb") for name in ids("test")) == 25
    assert not ids("dev") & ids("test")
    assert ids("dev") | ids("test") | HELD_OUT <= ids("unseen")


def test_nobody_learns_from_what_is_held_out_or_not_free():
    judged = next(iter(ids("test")))
    entries = [_entry(judged), _entry("gso-a"), _entry("gso-b", split="val"), _entry("0ad-c", category="character")]
    entries += [_entry("stk-d", licence="GPL-3+"), _entry("sh3d-e", cutout=True), _entry("aws-f", licence="MIT-0")]
    assert {e.id: e.weight for e in learners(entries)} == {"gso-a": 4.0, "0ad-c": 0.3, "aws-f": 2.0}
