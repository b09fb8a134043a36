"""What the pools' workers do in tests: functions that another process can import."""

import os
import signal
import time


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
