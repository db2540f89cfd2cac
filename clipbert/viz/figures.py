"""Every picture of a result: result -> `Chart`, which is tidy rows and what draws them -> a figure for screen or print.

A chart, say `answer_bars(prediction, model="real")`, becomes a Plotly figure by
`screen_figure(chart, theme="dark")`, shown with `config=CONFIG`; a matplotlib
one by `print_figure(chart, width="column")`; a file by `save(chart, path)`; a
table for screen readers by `to_table(chart.rows)`.  Maps of all clips in turn
are a moving picture, which `save_animation` writes.
"""

from clipbert.viz.animation import save_animation
from clipbert.viz.answers import answer_bars, answer_changes, answer_over_clips, clip_contributions, clip_values, logits_heat, match_bars
from clipbert.viz.attributions import faithfulness_curves, frame_values, token_chips
from clipbert.viz.cells import cell_comparison, cell_overlay
from clipbert.viz.chart import Chart
from clipbert.viz.costs import cost_breakdown, cost_panel
from clipbert.viz.export import save, to_csv, to_table
from clipbert.viz.heads import attention_heads
from clipbert.viz.prints import print_bytes, print_figure
from clipbert.viz.rankings import Ranked, rank_histogram, retrieval_ranking
from clipbert.viz.sampling import (
    SeedAnswer,
    TrainingDraws,
    draw_coverage,
    draw_gaps,
    draw_positions,
    policy_lanes,
    sampling_timeline,
    seed_variance,
    training_draws,
)
from clipbert.viz.screen import CONFIG, screen_figure, screen_html, untitled_figure
from clipbert.viz.sweeps import CurvePoint, PaperPoint, dataset_curve, ntest_curve, ntest_matrix, ntest_panels, pooling_heat, responsibility_bars

__all__ = [
    "CONFIG",
    "Chart",
    "CurvePoint",
    "PaperPoint",
    "Ranked",
    "SeedAnswer",
    "TrainingDraws",
    "answer_bars",
    "answer_changes",
    "answer_over_clips",
    "attention_heads",
    "cell_comparison",
    "cell_overlay",
    "clip_contributions",
    "clip_values",
    "cost_breakdown",
    "cost_panel",
    "dataset_curve",
    "draw_coverage",
    "draw_gaps",
    "draw_positions",
    "faithfulness_curves",
    "frame_values",
    "logits_heat",
    "match_bars",
    "ntest_curve",
    "ntest_matrix",
    "ntest_panels",
    "policy_lanes",
    "pooling_heat",
    "print_bytes",
    "print_figure",
    "rank_histogram",
    "responsibility_bars",
    "retrieval_ranking",
    "sampling_timeline",
    "save",
    "save_animation",
    "screen_figure",
    "screen_html",
    "seed_variance",
    "to_csv",
    "to_table",
    "token_chips",
    "training_draws",
    "untitled_figure",
]
