"""Looks at a video in training: fixed draws, crops, mirrors."""

import pytest
import torch

from clipbert.data.views import Views

FRAMES = torch.arange(2 * 3 * 20 * 30, dtype=torch.int64).remainder(251).to(torch.uint8).reshape(2, 3, 20, 30)


def test_a_video_has_as_many_looks_as_fixed_draws_and_every_item_gets_one_of_them() -> None:
    views = Views(num_draws=3, seed=1)
    assert {views.seed_of("a", item) for item in range(50)} == set(views.seeds("a"))
    assert len(set(views.seeds("a")) | set(views.seeds("b"))) == 6


def test_without_fixed_draws_an_item_keeps_its_own_seed() -> None:
    assert Views().seed_of("a", 17) == 17


def test_a_whole_unmirrored_look_is_the_frame_itself() -> None:
    assert torch.equal(Views(num_draws=2).cut(FRAMES, 5), FRAMES)


def test_crops_are_parts_of_the_frame_no_smaller_than_asked() -> None:
    views = Views(smallest_crop=0.5)
    for seed in range(20):
        part = views.cut(FRAMES, seed)
        h, w = part.shape[-2:]
        assert 10 <= h <= 20 and 15 <= w <= 30
        assert any(torch.equal(FRAMES[..., y : y + h, x : x + w], part) for y in range(21 - h) for x in range(31 - w))


def test_half_of_the_looks_are_mirrored() -> None:
    looks = [Views(mirror=True).cut(FRAMES, seed) for seed in range(100)]
    mirrored = sum(torch.equal(look, FRAMES.flip(-1)) for look in looks)
    assert mirrored + sum(torch.equal(look, FRAMES) for look in looks) == 100 and 30 < mirrored < 70


def test_a_look_follows_from_its_seed() -> None:
    views = Views(smallest_crop=0.5, mirror=True)
    assert torch.equal(views.cut(FRAMES, 3), views.cut(FRAMES, 3))


@pytest.mark.parametrize(("settings", "message"), [({"num_draws": -1}, "num_draws must be"), ({"smallest_crop": 0.0}, "smallest_crop must be")])
def test_views_without_meaning_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Views(**settings)
