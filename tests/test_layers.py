"""Imports inside the package point to the same or a lower layer, without cycles; optional packages stay where DESIGN puts them."""

import ast
import functools
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "clipbert"
LAYERS = (
    (
        "hf",
        "hf.files",
        "cell_grid",
        "types",
        "checks",
        "bundled",
        "allocator",
        "memory",
        "sampling_config",
        "config",
        "paper",
        "tensor_pickle",
        "caches",
    ),
    (
        "video",
        "video_files",
        "video_packets",
        "video_watch",
        "video_decord",
        "video_decoder",
        "video_worker",
        "child_process",
        "source",
        "sampling",
        "selection",
        "aggregation",
        "metrics",
        "settling",
        "comparison",
        "conclusions",
        "trends",
        "resnet",
        "efficientnet",
    ),
    ("processing", "backbone", "transformer"),
    ("heads", "model", "tasks", "matching", "sweep", "two_pass", "recompute"),
    (
        "data.seeds",
        "data.views",
        "data.footage",
        "data.shapes",
        "data.story_video",
        "data.stories",
        "data.questions",
        "data.synthetic",
        "data.caption_qa",
        "data.rows",
        "data.formats",
        "data.examples",
        "data.video_store",
        "data.clip_cache",
        "data.dataset",
        "data.collate",
        "data.spec",
        "data",
    ),
    (
        "per_clip",
        "hf.image_model",
        "hf.dual_encoder",
        "hf.vilt",
        "hf.blip",
        "hf.vocabulary",
        "hf.families",
        "encoding",
        "guided",
        "convert",
        "initialise",
        "data.check",
    ),
    ("predict", "evaluate"),
    ("index_entry", "index_segment", "index_file_v1", "index_file", "gallery_scores", "hits", "index_build", "retrieval"),
    ("cascade", "sharded_search", "streaming", "adaptive", "edits"),
    ("cost_limits", "cost_settings", "cost_trace", "cost_parts", "cost_point", "cost", "cost_panels"),
    (
        "doctor",
        "clip_score",
        "covering",
        "attribution_target",
        "attribution_clips",
        "attribution_attention",
        "attention_heads",
        "attribution_frames",
        "attribution_cells",
        "attribution_tokens",
        "attribution",
        "attribution_table",
        "faithfulness_curves",
        "faithfulness_units",
        "faithfulness",
        "faithfulness_checks",
        "randomisation",
        "checkup",
        "evidence",
        "results",
        "batch",
    ),
    (
        "viz.style",
        "viz.chart",
        "viz.screen",
        "viz.prints",
        "viz.export",
        "viz.answers",
        "viz.attributions",
        "viz.cells",
        "viz.heads",
        "viz.animation",
        "viz.sweeps",
        "viz.sampling",
        "viz.clip_timeline",
        "viz.rankings",
        "viz.costs",
        "viz.figures",
        "viz.strip",
        "viz.report",
        "viz.snapshot",
        "viz.controls",
        "viz.paper_tables",
        "viz.notebook",
        "viz.timeline_widget",
        "viz.widgets",
        "viz.batch_report",
        "viz",
        "attribution_files",
        "session",
        "session_file",
    ),
    (
        "show",
        "show_attribution",
        "show_tables",
        "commands",
        "sampler_command",
        "attribute_command",
        "adaptive_command",
        "cli",
        "__main__",
        "__init__",
    ),
)
LAYER = {module: number for number, layer in enumerate(LAYERS) for module in layer}
ONLY_IN = {
    "decord": {"video_decord"},
    "captum": {"attribution_cells", "attribution_tokens", "faithfulness_checks"},
    "plotly": {"viz"},
    "matplotlib": {"viz"},
    "ipywidgets": {"viz"},
    "anywidget": {"viz"},
    "lmdb": {"data"},
}
NEVER = {"gradio", "deepspeed", "torchvision", "detectron2", "app", "train"}


@functools.cache
def modules() -> dict[str, ast.Module]:
    names = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__") for path in PACKAGE.rglob("*.py")}
    return {name: ast.parse(path.read_text()) for path, name in names.items()}


def imports(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def ours(tree: ast.Module) -> set[str]:
    return {name.removeprefix("clipbert.") for name in imports(tree) if name.startswith("clipbert.")}


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_down_or_sideways(module: str) -> None:
    assert module in LAYER, f"give {module} a layer"
    for imported in ours(modules()[module]):
        assert LAYER[imported] <= LAYER[module], f"{module} imports {imported}, which lies above it"


def test_imports_make_no_circle() -> None:
    TopologicalSorter({name: ours(tree) for name, tree in modules().items() if name != "__init__"}).prepare()


def test_optional_packages_stay_in_their_modules() -> None:
    for module, tree in modules().items():
        for imported in {name.split(".")[0] for name in imports(tree)}:
            assert imported not in NEVER, f"{module} imports {imported}"
            assert module.split(".")[0] in ONLY_IN.get(imported, {module.split(".")[0]}), f"{module} imports {imported}"
