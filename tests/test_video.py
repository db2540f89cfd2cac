"""Videos open by their packets, and planned decoding equals full decoding."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from clipbert.video import Video

GOLDEN = sorted((Path(__file__).parent / "golden").glob("video_*"))


def full_decode(path):
    """Every frame in presentation order, upright, as PyAV gives them when it reads the file from its start."""
    with av.open(str(path)) as container:
        frames = [np.rot90(f.to_ndarray(format="rgb24"), f.rotation // 90).transpose(2, 0, 1) for f in container.decode(video=0)]
    return torch.from_numpy(np.stack(frames))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_planned_frames_equal_a_full_decode(path):
    full = full_decode(path)
    indices = torch.randint(len(full), (16,), generator=torch.Generator().manual_seed(0)).tolist()
    with Video.open(path) as video:
        assert video.num_frames == len(full)
        assert torch.equal(video.frames_by_index(indices).frames, full[indices])
        assert video.frames_decoded <= len(full)
