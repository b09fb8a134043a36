"""What stands between two stages: NaN is named, lack of memory steps down once or names the option."""

from dataclasses import dataclass

import numpy as np
import pytest

from img2mv3d.errors import ResourceError, WeightsError
from img2mv3d.flow.graph import GRAPH
from img2mv3d.flow.watch import check_numbers, starved, with_less
from tests.conftest import Workshop


@dataclass
class Value:
    color: np.ndarray
    name: str = "no array"


def test_numbers_pass_and_nan_names_stage_and_array():
    fine = np.zeros((2, 3), np.float32)
    check_numbers("generate", Value(fine))
    check_numbers("generate", Value(np.zeros(3, np.uint8)))
    bad = fine.copy()
    bad[1] = (np.nan, np.inf, 0)
    with pytest.raises(WeightsError, match=r"^generate: 2 of 6 numbers of color are NaN or infinite"):
        check_numbers("generate", Value(bad))


def test_a_stage_that_gives_nan_ends_the_run_and_leaves_nothing(workshop: Workshop) -> None:
    whole = workshop.runners.depth

    def broken(*given, **more):
        made = whole(*given, **more)
        made.z[0, 0, 0] = np.nan
        return made

    workshop.runners.depth = broken
    with pytest.raises(WeightsError, match=r"^depth: 1 of .* numbers of z"):
        workshop.run()
    assert not (workshop.out / "depth.npz").exists()
    assert "decode" not in workshop.runners.calls


def failing(error):
    def call():
        raise error

    return call


def test_lack_of_memory_steps_down_once_and_says_so():
    said = []
    assert with_less({"all": failing(MemoryError()), "by halves": lambda: 7}, said.append) == 7
    assert said == ["not enough memory; once more, by halves"]
    cuda = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(RuntimeError):
        with_less({"all": failing(cuda), "by halves": failing(cuda)}, said.append)
    assert len(said) == 2


def test_other_errors_are_not_tried_again():
    said = []
    with pytest.raises(ValueError, match="no such solver"):
        with_less({"all": failing(ValueError("no such solver")), "by halves": lambda: 7}, said.append)
    assert with_less({"all": lambda: 1, "by halves": failing(MemoryError())}, said.append) == 1
    assert said == []


@pytest.mark.parametrize("stage", [stage.name for stage in GRAPH.values() if stage.memory_hint])
def test_a_stage_without_memory_names_the_option_to_change(stage: str, workshop: Workshop) -> None:
    setattr(workshop.runners, stage, lambda *given, **more: failing(MemoryError())())
    with pytest.raises(ResourceError, match=f"^{stage}: not enough memory; .*use --"):
        workshop.run()


def test_what_lacks_no_memory_is_somebody_elses_error():
    assert starved("generate", ValueError("x")) is None
