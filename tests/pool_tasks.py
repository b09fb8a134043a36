"""What the pools' workers do in tests: functions that another process can import."""

import os
import signal
import time

from img2mv3d.cli.pools import tell_parent


def double(number: int) -> int:
    return 2 * number


def process(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def fragile(word: str) -> str:
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "raise":
        raise ValueError(word)
    return word


def talkative(word: str) -> str:
    """Tells twice how far it is."""
    for news in ("half", "whole"):
        tell_parent(news)
    return fragile(word)
