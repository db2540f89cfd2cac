"""ResNet-50 files of four layouts: features equal those computed straight from the file; no file runs anything."""

import collections
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import RESNET, SIZES, tiny_model
from torch import Tensor
from torch.nn import functional as F

from clipbert.config import ClipBertConfig
from clipbert.initialise import load_resnet
from clipbert.model import ClipBertForPreTraining
from clipbert.tensor_pickle import read_tensor_pickle
from train.sections import ModelSettings
from train.start import start_model

DEPTHS = (3, 4, 6, 3)
State = dict[str, Tensor]
MEAN, STD = torch.tensor([123.675, 116.28, 103.53])[:, None, None], torch.tensor([58.395, 57.12, 57.375])[:, None, None]


def convolutions() -> list[tuple[str, int, tuple[int, int, int]]]:
    """Place ("stem", or "stage.block.part" with parts 1, 2, 3 and 0 for the shortcut), width of the output, and (out, in, kernel)."""
    found, channels = [("stem", 4, (4, 3, 7))], 4
    for stage, depth in enumerate(DEPTHS):
        width, out = 2 << stage, 8 << stage
        for block in range(depth):
            parts = [(1, (width, channels, 1)), (2, (width, width, 3)), (3, (out, width, 1))]
            parts += [(0, (out, channels, 1))] * (block == 0)
            found += [(f"{stage}.{block}.{part}", shape[0], shape) for part, shape in parts]
            channels = out
    return found


def source(weight_key: Callable[[str], str], norm_key: Callable[[str, str], str], statistics: tuple[str, ...]) -> State:
    """Random weights, and positive random norms, under a layout's own keys."""
    generator, state = torch.Generator().manual_seed(0), {}
    for place, channels, (out, channels_in, kernel) in convolutions():
        state[weight_key(place)] = torch.randn(out, channels_in, kernel, kernel, generator=generator) * (2 / (channels_in * kernel**2)) ** 0.5
        for statistic in statistics:
            state[norm_key(place, statistic)] = 0.5 + torch.rand(channels, generator=generator)
    return state


def reference(
    pixels: Tensor, state: State, weight_key: Callable[[str], str], norm: Callable[[State, str, Tensor], Tensor], *, stride_in_1x1: bool
) -> Tensor:
    """ResNet-50 in plain functions of the file's own tensors."""

    def conv(x: Tensor, place: str, stride: int = 1) -> Tensor:
        weight = state[weight_key(place)]
        return norm(state, place, F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2))

    x = F.max_pool2d(F.relu(conv(pixels, "stem", 2)), 3, 2, 1)
    for stage, depth in enumerate(DEPTHS):
        for block in range(depth):
            place, stride = f"{stage}.{block}", 2 if stage and not block else 1
            shortcut = x if block else conv(x, f"{place}.0", stride)
            out = F.relu(conv(x, f"{place}.1", stride if stride_in_1x1 else 1))
            out = F.relu(conv(out, f"{place}.2", 1 if stride_in_1x1 else stride))
            x = F.relu(conv(out, f"{place}.3") + shortcut)
    return x


def batch_norm(key: Callable[[str, str], str]) -> Callable[[State, str, Tensor], Tensor]:
    def norm(state: State, place: str, x: Tensor) -> Tensor:
        mean, variance, weight, bias = (state[key(place, name)] for name in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, variance, weight, bias, eps=1e-5)

    return norm


FULL = ("weight", "bias", "running_mean", "running_var")


def caffe2_name(place: str) -> str:
    stage, block, part = place.split(".")
    return f"res{int(stage) + 2}_{block}_branch{('1', '2a', '2b', '2c')[int(part)]}"


def caffe2_weight(place: str) -> str:
    return "conv1_w" if place == "stem" else f"{caffe2_name(place)}_w"


def caffe2_norm(place: str, statistic: str) -> str:
    return f"res_conv1_bn_{statistic}" if place == "stem" else f"{caffe2_name(place)}_bn_{statistic}"


def affine(state: State, place: str, x: Tensor) -> Tensor:
    return x * state[caffe2_norm(place, "s")][:, None, None] + state[caffe2_norm(place, "b")][:, None, None]


def detectron2_name(place: str) -> str:
    if place == "stem":
        return "stem.conv1"
    stage, block, part = place.split(".")
    return f"res{int(stage) + 2}.{block}.{('shortcut', 'conv1', 'conv2', 'conv3')[int(part)]}"


def torchvision_weight(place: str) -> str:
    if place == "stem":
        return "conv1.weight"
    stage, block, part = place.split(".")
    return f"layer{int(stage) + 1}.{block}." + ("downsample.0.weight" if part == "0" else f"conv{part}.weight")


def torchvision_norm(place: str, statistic: str) -> str:
    if place == "stem":
        return f"bn1.{statistic}"
    stage, block, part = place.split(".")
    return f"layer{int(stage) + 1}.{block}." + (f"downsample.1.{statistic}" if part == "0" else f"bn{part}.{statistic}")


def mmaction2_name(place: str) -> str:
    if place == "stem":
        return "backbone.conv1"
    stage, block, part = place.split(".")
    return f"backbone.layer{int(stage) + 1}.{block}." + ("downsample" if part == "0" else f"conv{part}")


def keys_of(name: Callable[[str], str], conv: str = "", norm: str = ".norm") -> tuple[Callable[[str], str], Callable[[str, str], str]]:
    """The keys of a convolution's weight and of its norm's statistics, in a layout that puts both under one name."""
    return lambda place: f"{name(place)}{conv}.weight", lambda place, statistic: f"{name(place)}{norm}.{statistic}"


def arrays(state: State) -> dict[str, Any]:
    return {name: value.numpy() for name, value in state.items()}


PIXELS = 255 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
BGR, RGB = (PIXELS - MEAN).flip(1), (PIXELS - MEAN) / STD


def loaded(path: Path, **settings: Any) -> Tensor:
    """Features of our CNN with the file's weights; pixels are what the processor makes by the model's configuration."""
    model = tiny_model(**settings)
    load_resnet(model, path)
    return model.clipbert.backbone.cnn((PIXELS - MEAN) / torch.tensor(model.config.pixel_std)[:, None, None])


def close(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.1, "the comparison must not be of zeros"
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=5e-5 * float(expected.abs().max()))  # norms are scaled into weights: other rounding


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_the_caffe2_pickle_gives_its_own_features(tmp_path: Path, protocol: int) -> None:
    state = source(caffe2_weight, caffe2_norm, ("s", "b"))
    extra = {"fc1000_w": np.zeros((3, 4), np.float32), "fc1000_b": np.zeros(3, np.float32), "conv1_b": np.zeros(4, np.float32)}
    content = {"blobs": arrays(state) | extra | {"res2_0_branch2a_w_momentum": np.zeros(1, np.float32)}}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(content, protocol))
    report = load_resnet(tiny_model(), tmp_path / "R-50.pkl")
    assert report.dropped["fc1000_w"] == "classifier" and set(report.used) == set(state)
    close(loaded(tmp_path / "R-50.pkl"), reference(BGR, state, caffe2_weight, affine, stride_in_1x1=True))


@pytest.mark.parametrize(("prefix", "suffix"), [("", ".pkl"), ("backbone.bottom_up.", ".pkl"), ("backbone.", ".pth")])
def test_detectron2_files_give_their_own_features(tmp_path: Path, prefix: str, suffix: str) -> None:
    weight, norm = keys_of(lambda place: f"{prefix}{detectron2_name(place)}")
    state, path = source(weight, norm, FULL), tmp_path / f"model{suffix}"
    heads = {"roi_heads.box_predictor.cls_score.weight": torch.zeros(2), "proposal_generator.anchor.0": torch.zeros(1)}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": arrays(state | heads), "__author__": "Detectron2 Model Zoo"}))
    else:
        torch.save({"model": state | heads, "iteration": 3}, path)
    close(loaded(path), reference(BGR, state, weight, batch_norm(norm), stride_in_1x1=True))


def test_the_torchvision_file_gives_its_own_features(tmp_path: Path) -> None:
    state = source(torchvision_weight, torchvision_norm, FULL)
    counters = {name.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for name in state if name.endswith("running_mean")}
    torch.save(state | counters | {"fc.weight": torch.zeros(3, 4), "fc.bias": torch.zeros(3)}, tmp_path / "resnet50.pth")
    expected = reference(RGB, state, torchvision_weight, batch_norm(torchvision_norm), stride_in_1x1=False)
    close(loaded(tmp_path / "resnet50.pth", stride_in_1x1=False), expected)


def test_torchvision_weights_that_detectron2_renamed_are_known_by_their_author(tmp_path: Path) -> None:
    weight, norm = keys_of(detectron2_name)
    state = source(weight, norm, FULL)
    content = {"model": arrays(state | {"stem.fc.bias": torch.zeros(3)}), "__author__": "torchvision", "matching_heuristics": True}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(content))
    expected = reference(RGB, state, weight, batch_norm(norm), stride_in_1x1=False)
    close(loaded(tmp_path / "R-50.pkl", stride_in_1x1=False), expected)


def test_tsn_of_mmaction2_gives_its_own_features(tmp_path: Path) -> None:
    weight, norm = keys_of(mmaction2_name, conv=".conv", norm=".bn")
    state = source(weight, norm, FULL)
    content = {"meta": {"epoch": 100}, "state_dict": collections.OrderedDict(state | {"cls_head.fc_cls.weight": torch.zeros(7, 4)})}
    torch.save(content, tmp_path / "tsn.pth")
    close(loaded(tmp_path / "tsn.pth", stride_in_1x1=False), reference(RGB, state, weight, batch_norm(norm), stride_in_1x1=False))


@pytest.fixture
def caffe2_file(tmp_path: Path) -> Path:
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(arrays(source(caffe2_weight, caffe2_norm, ("s", "b")))))
    return tmp_path / "R-50.pkl"


def test_a_model_that_does_not_fit_the_file_is_refused_with_the_reason(tmp_path: Path, caffe2_file: Path) -> None:
    torch.save(source(torchvision_weight, torchvision_norm, FULL), tmp_path / "resnet50.pth")
    with pytest.raises(ValueError, match="stride of a stage in its 3x3 convolution; set stride_in_1x1 to false"):
        loaded(tmp_path / "resnet50.pth")
    with pytest.raises(ValueError, match="stride of a stage in its 1x1 convolution; set stride_in_1x1 to true"):
        loaded(caffe2_file, stride_in_1x1=False)
    with pytest.raises(ValueError, match="pixel_std 1 in the model"):
        loaded(caffe2_file, pixel_std=[58.0, 57.0, 57.0])
    with pytest.raises(ValueError, match="do not fit the backbone efficientnet-lite0"):
        loaded(caffe2_file, backbone="efficientnet-lite0")
    with pytest.raises(ValueError, match=r"has shape \(4, 3, 7, 7\) where this model needs \(6, 3, 7, 7\)"):
        loaded(caffe2_file, stem_channels=6)


def test_files_of_no_layout_and_keys_that_are_missing_or_too_many_are_named(tmp_path: Path, caffe2_file: Path) -> None:
    content = pickle.loads(caffe2_file.read_bytes())
    for name, changed, message in (
        ("other.pkl", {"x": np.zeros(2, np.float32)}, "no ResNet-50 in a layout of Caffe2, detectron2, torchvision, mmaction2; it holds x"),
        ("more.pkl", content | {"res9_surprise": np.zeros(1, np.float32)}, "res9_surprise has no place in a ResNet-50 of the Caffe2 layout"),
        ("less.pkl", {k: v for k, v in content.items() if k != "res5_2_branch2c_w"}, r"nothing for res5\.2\.conv3\.weight"),
    ):
        (tmp_path / name).write_bytes(pickle.dumps(changed))
        with pytest.raises(ValueError, match=message):
            loaded(tmp_path / name)


class Runs:
    """A pickle that makes a folder when it is loaded in the usual way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"conv1_w": Runs(tmp_path / "ran")}, protocol))
    with pytest.raises(ValueError, match=r"is not a plain pickle of numpy arrays \(it asks for \w+\.mkdir, which a file of arrays does not need\)"):
        read_tensor_pickle(tmp_path / "bad.pkl")
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / "bad.pkl").read_bytes())
    assert (tmp_path / "ran").is_dir(), "the usual way does run it, so the test can fail"


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"c_codecs\nencode\n(Vx\nVbz2\ntR.", b"cnumpy.testing\nrunstring\n.",
        b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'dump'\ntR.", b"Pperson\n.", b"", b"nothing", b"\x80\x04K\x01.", b"\x80\x04}.",
        pickle.dumps({"x": np.array([object], dtype=object)}), pickle.dumps({"x": np.array(["text"])}), pickle.dumps({"x": [1, 2]}),
    ],
)  # fmt: skip
def test_other_bad_pickles_get_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pkl").write_bytes(content)
    with pytest.raises(ValueError, match="cannot read weights") as raised:
        read_tensor_pickle(tmp_path / "bad.pkl")
    assert "\n" not in str(raised.value)


def test_a_python_2_pickle_of_arrays_is_read(tmp_path: Path) -> None:
    """As the files of Detectron were written: numpy's names before version 2, bytes as str."""
    array = np.arange(3, dtype=np.float32)
    text = "".join(f"\\x{byte:02x}" for byte in array.tobytes())
    content = (
        "(dp0\nS'conv1_w'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
        f"(I1\n(I3\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS'{text}'\np15\ntp16\nbs."
    )
    (tmp_path / "old.pkl").write_bytes(content.encode("latin1"))
    state, author = read_tensor_pickle(tmp_path / "old.pkl")
    assert state["conv1_w"].tolist() == [0, 1, 2] and author == ""


def test_a_run_starts_from_the_file_its_settings_name(caffe2_file: Path) -> None:
    model, _ = start_model(ModelSettings(config={**SIZES, **RESNET}, resnet=str(caffe2_file)), {}, seed=0)
    expected = torch.from_numpy(pickle.loads(caffe2_file.read_bytes())["conv1_w"])
    assert torch.equal(model.clipbert.backbone.cnn.stem["conv1"].weight, expected)
    with pytest.raises(ValueError, match="already holds all weights"):
        ModelSettings(start="folder", resnet="file")


def test_the_stride_is_saved_with_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ClipBertForPreTraining(ClipBertConfig(**{**SIZES, **RESNET, "stride_in_1x1": False})).eval()
    model.save_pretrained(tmp_path)
    again = ClipBertForPreTraining.from_pretrained(tmp_path).eval()
    assert torch.equal(again.clipbert.backbone(PIXELS), model.clipbert.backbone(PIXELS))
    other = ClipBertForPreTraining(ClipBertConfig(**{**SIZES, **RESNET}))
    other.load_state_dict(model.state_dict())
    assert not torch.equal(other.eval().clipbert.backbone(PIXELS), model.clipbert.backbone(PIXELS))
