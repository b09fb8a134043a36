"""The report of a run while it goes on: a stage begins, is so far, ends; or a sentence that a person should read.

In: calls from the flow. Out: whatever the report makes of them: a screen, a test's record, nothing.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Report(Protocol):
    """What a run tells while it goes on. Commands give one that draws; a subclass that adds nothing keeps quiet."""

    def begin(self, stage: str, number: int, total: int) -> None:
        """A stage starts to compute; it is `number` of `total`."""
        return None

    def progress(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps of the stage are through."""
        return None

    def end(self, stage: str, how: str, seconds: float) -> None:
        """The stage's output stands: computed, cached, kept, edited or given, after `seconds` here and now."""
        return None

    def note(self, line: str) -> None:
        """One sentence that a person should read now."""
        return None


class Silence(Report):
    """Tells nothing."""
