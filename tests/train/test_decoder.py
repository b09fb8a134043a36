"""Laws of the plain decoder's training."""

from pathlib import Path

import torch

from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.train import decoder
from img2mv3d.train.pool import Pool, box_crop


def test_training_raises_the_psnr_of_what_it_sees(toy: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = PlainDecoder((8, 8, 8, 8))
    seen = Pool(toy, "train")
    before = decoder.decoder_figures(net, seen, (0, 2))
    average = decoder.train(toy, tmp_path / "run", 1.0, steps=40, net=net, report=lambda line: None)
    after = decoder.decoder_figures(average, seen, (0, 2))
    assert set(after) == {"psnr_color", "psnr_color_mask", "psnr_normal", "psnr_normal_mask"}
    assert after["psnr_color"] > before["psnr_color"] + 0.3 and after["psnr_normal"] > before["psnr_normal"] + 0.3


def test_a_constant_offset_costs_its_size_and_has_no_slopes() -> None:
    picture = torch.rand(1, 3, 8, 8)
    assert torch.isclose(decoder.picture_loss(picture + 0.1, picture), torch.tensor(0.1))


def test_a_crop_holds_the_box_where_it_can_and_lies_inside_of_it_else() -> None:
    rng = torch.Generator().manual_seed(0)
    for height, width in ((10, 30), (100, 40), (1, 1), (256, 256)):
        covered = torch.zeros(256, 256, dtype=torch.bool)
        covered[20 : 20 + height, 100 : 100 + width] = True
        for _ in range(20):
            y, x = box_crop(covered, 128, rng)
            assert y % 8 == x % 8 == 0 and 0 <= y <= 128 and 0 <= x <= 128
            rows, columns = covered.any(dim=1)[y : y + 128], covered.any(dim=0)[x : x + 128]
            assert rows.sum() >= min(int(covered.any(dim=1).sum()), 128) - 7
            assert columns.sum() >= min(int(covered.any(dim=0).sum()), 128) - 7
