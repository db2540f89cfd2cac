"""The rows of Tables 1 to 6 and the curves of Figure 4: each as the settings in which it differs from the paper's default.

The default of section 4.2, which a recipe holds: N_train = 1 random clip of
T = 1 frame, a fusion of frames by their mean, image side 448, image-text
pre-training, everything trained.
"""

from dataclasses import dataclass

POOLINGS = {"Mean Pooling": "mean", "Max Pooling": "max", "LogSumExp": "lse"}


@dataclass(frozen=True)
class TableRow:
    """One row of a table: how its model is trained, and at which N_test and aggregation it is read."""

    table: str
    row: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    num_clips: int = 1
    aggregation: str = "mean"

    @property
    def name(self) -> str:
        return f"{self.table}: {', '.join(self.row)}"


@dataclass(frozen=True)
class Curve:
    """One series of Figure 4, over all N_test."""

    series: str
    overrides: tuple[str, ...] = ()
    table: str = "figure 4"

    @property
    def name(self) -> str:
        return f"figure 4: {self.series}"


def one_second(num_frames: int, *others: str) -> tuple[str, ...]:
    """T frames of a clip that lasts one second."""
    return (f"clips.num_frames={num_frames}", f"clips.fps={num_frames}", *others)


def pooled(num_clips: int, aggregation: str, *others: str) -> tuple[str, ...]:
    """N_train clips, pooled in the loss."""
    return (f"clips.num_clips={num_clips}", f"clips.aggregation={aggregation}", *others)


RANDOM, BERT = ("model.start=",), ("model.start=", "model.bert=weights/bert-base-uncased")
ROWS = (
    *(TableRow("1", (size,), (f"model.config.image_size={size}",) if size != "448" else ()) for size in ("224", "448", "768", "1000")),
    TableRow("2", ("-", "1")),
    *(TableRow("2", ("mean pooling", str(t)), one_second(t)) for t in (2, 4, 8, 16)),
    *(TableRow("2", ("Conv3D", str(t)), one_second(t, "model.config.temporal_fusion=conv3d")) for t in (2, 16)),
    *(TableRow("2", ("Conv(2+1)D", str(t)), one_second(t, "model.config.temporal_fusion=conv2plus1d")) for t in (2, 16)),
    TableRow("3", ("-", "1"), num_clips=16),
    *(TableRow("3", ("Mean Pooling", str(n)), pooled(n, "mean"), 16, "mean") for n in (2, 4, 8, 16)),
    *(TableRow("3", (name, str(n)), pooled(n, POOLINGS[name]), 16, POOLINGS[name]) for name in ("Max Pooling", "LogSumExp") for n in (2, 16)),
    TableRow("4", ("Dense Uniform", "16"), pooled(16, "lse", "clips.policy=dense"), 16, "lse"),
    TableRow("4", ("Sparse Random", "1"), num_clips=16),
    *(TableRow("4", ("Sparse Random", str(n)), pooled(n, "lse"), 16, "lse") for n in (2, 4)),
    TableRow("5", ("random", "random"), RANDOM),
    TableRow("5", ("random", "BERT-base"), BERT),
    TableRow("5", ("TSN, K700", "BERT-base"), (*BERT, "model.resnet=weights/tsn_r50_k700.pth", "model.config.stride_in_1x1=false")),
    TableRow("5", ("ImageNet", "BERT-base"), (*BERT, "model.resnet=weights/R-50.pkl")),
    TableRow("5", ("grid-feat", "BERT-base"), (*BERT, "model.resnet=weights/grid_feat_R-50.pth")),
    TableRow("5", ("image-text pre-training", "image-text pre-training")),
    TableRow("6", ("no", "no"), ("model.freeze=[cnn, words]",)),
    TableRow("6", ("no", "yes"), ("model.freeze=[cnn]",)),
    TableRow("6", ("yes", "yes")),
)
"""Tables 3 and 4 have one clip in training, read at N_test = 16, in common: Figure 4 says that its clips are averaged."""
CURVES = (Curve("T=1"), Curve("T=2", one_second(2)))
TABLES = ("1", "2", "3", "4", "5", "6", "figure 4")
