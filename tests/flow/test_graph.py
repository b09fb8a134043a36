"""The records of the stages: complete, in order, and true to what they name."""

import inspect
from dataclasses import fields

import pytest

from img2mv3d.flow.graph import GRAPH, OTHER_SOURCES, STAGES, imported, name_of, order_of, stage_of
from img2mv3d.plans import Plan

SOURCES = {"photo", "photos", "mask", "matting", "pictures", "given", "provenance"}  # what no stage gives


def test_the_flow_is_these_six_in_this_order() -> None:
    assert STAGES == ("prepare", "generate", "depth", "decode", "reconstruct", "export")
    assert [order_of(stage) for stage in STAGES] == list(range(6))
    assert (order_of("back"), order_of("encode")) == (0, 1)


@pytest.mark.parametrize("stage", GRAPH)
def test_a_record_names_a_runner_that_takes_its_inputs(stage: str) -> None:
    context, *names = inspect.signature(imported(GRAPH[stage].run)).parameters
    assert context == "context" and names == [i.name for i in GRAPH[stage].inputs]


@pytest.mark.parametrize("stage", GRAPH)
def test_a_record_names_a_value_that_can_be_read_back(stage: str) -> None:
    if GRAPH[stage].value is not None:
        value = imported(GRAPH[stage].value)
        assert callable(value.load) and callable(value.save)


@pytest.mark.parametrize("stage", GRAPH)
def test_every_input_is_given_by_an_earlier_stage_or_by_the_source(stage: str) -> None:
    kinds = {GRAPH[s].kind for s in STAGES if order_of(s) < order_of(stage)}
    beside = {"subject", "back", "sides", "body"}  # of the place before, whatever the order
    assert {i.name for i in GRAPH[stage].inputs} <= SOURCES | kinds | beside


def test_options_are_those_of_the_plan() -> None:
    plan = Plan()
    for stage in STAGES:
        assert GRAPH[stage].options_in(plan) == getattr(plan, stage)
        assert GRAPH[stage].option_names == tuple(f.name for f in fields(getattr(plan, stage)))
    assert GRAPH["back"].options_in(plan) is plan.prepare and GRAPH["encode"].options_in(plan) is None


def test_commands_take_kinds_that_people_can_name() -> None:
    for stage in STAGES:
        assert all(name_of(kind) for kind in GRAPH[stage].takes)
    assert [stage_of(kind) for kind in OTHER_SOURCES] == [None, None, None] and stage_of("views") == "decode"
