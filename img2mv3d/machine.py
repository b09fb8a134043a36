"""Processors, memory, disk and graphics card of this machine, found without loading torch.

In: the system, cgroups, the installed packages' own files. Out: plain numbers and words.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")
CGROUP_CPU_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def home() -> Path:
    """The user's folder; the one for temporary files where the system knows none, as in a container for a number."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())


def own_place(kind: str) -> Path:
    """Where this system wants our "cache" or "data" to stand."""
    import platformdirs

    find = platformdirs.user_cache_dir if kind == "cache" else platformdirs.user_data_dir
    with contextlib.suppress(RuntimeError):  # nobody knows the user's folder
        place = Path(find("img2mv3d", appauthor=False))
        if place.is_absolute():
            return place
    return Path(tempfile.gettempdir()) / f"img2mv3d-{kind}-{_number_of_user()}"


def _number_of_user() -> int:
    getuid = getattr(os, "getuid", None)  # not on every system
    return getuid() if getuid else 0


def cpu_count() -> int:
    """Processors that this process may really use: its affinity, cut down to the cgroup's quota; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(count, _quota())))


def thread_count() -> int:
    """Threads for torch: OMP_NUM_THREADS when the user has set it (of a list for nested levels the first number), else
    `cpu_count`."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(wanted) if wanted.isascii() and wanted.isdigit() and 0 < int(wanted) < 10_000 else cpu_count()


def guess_device() -> str:
    """ "cuda" or "cpu", without importing torch: a card is there, is not hidden, and torch is built for it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return "cpu"
    card = any(Path(p).exists() for p in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia/version"))
    return "cuda" if card and torch_cuda_build() else "cpu"


def torch_cuda_build() -> str | None:
    """The CUDA version that the installed torch was built with, None for a CPU build or without torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found.group(1) if found else None


def reset_peak_memory() -> None:
    """Start counting the peak of resident memory anew, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_memory() -> int:
    """Bytes: the largest resident size since `reset_peak_memory`; since the start, or now, where a system tells no
    more."""
    import psutil

    try:  # psutil does not know it on Linux, and nothing else can be counted anew
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    memory = psutil.Process().memory_info()
    return int(found.group(1)) * 1024 if found else getattr(memory, "peak_wset", memory.rss)


def resident_memory() -> int:
    """Bytes in memory now, after what was freed has been given back where the C library can do that."""
    import ctypes

    import psutil

    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


STARVED = ("can't allocate memory", "cuda out of memory", "insufficient memory")  # torch, torch on a card, OpenCV


def is_starved(error: BaseException) -> bool:
    """Does the error say that memory is lacking, whoever says it?"""
    text = str(error).lower()
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, Exception) and any(word in text for word in STARVED))


def free_disk(folder: Path) -> int:
    """Bytes free for us where `folder` stands or would stand; 0 when that cannot be told."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return 0


def _quota() -> float:
    try:
        quota, period = CGROUP_CPU.read_text().split()
        return math.inf if quota == "max" else max(int(quota) / int(period), 0.01)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        quota, period = (int(p.read_text()) for p in CGROUP_CPU_V1)
        return math.inf if quota <= 0 else max(quota / period, 0.01)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
