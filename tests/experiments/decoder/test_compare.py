"""Methods of the ablation: a network is as it was after a part was switched off."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.decoder.compare import all_methods, at_equal_sharpness, with_true_depth
from img2mv3d.eval.comparison import Method, Result
from img2mv3d.nets.crossview import CrossViewDecoder
from tests.patterned import patterned_ball
from tests.toys import toy_bundle


def test_every_part_can_be_switched_off_and_comes_back(tmp_path: Path):
    bundle, case = toy_bundle(tmp_path), patterned_ball()
    found = all_methods(bundle, str(tmp_path), [f"a={tmp_path}"], more=True)
    assert list(found)[:4] == ["true views", "plain", "multi-view blending", "a"]
    first = found["a"].make(case).colors
    for name in ("a, attention off", "a, front pyramid off", "a, photo warp off"):
        assert found[name].make(case).colors.shape == first.shape
    assert (found["a"].make(case).colors == first).all() and "attend" not in vars(CrossViewDecoder.attend)
    assert len(at_equal_sharpness({k: found[k] for k in ("true views", "plain", "a")}, "a")) == 2


def test_told_the_true_depth_a_method_gets_the_truth_and_nothing_else_changes():
    case, seen = patterned_ball(), []
    method = Method(lambda case: seen.append(case) or Result(case.truth))
    wrong = replace(case, depth=replace(case.depth, z=case.depth.z + 0.3, hit=np.ones_like(case.depth.hit)))
    for masks in (False, True):
        with_true_depth(method, masks).make(wrong)
    solid = case.truth.mask >= 0.5
    assert (seen[0].depth.z[solid] == case.z[solid]).all() and (seen[0].depth.hit == 1).all()
    assert (seen[1].depth.hit == solid).all()
