"""The settings accordion: every field of SamplingConfig, in its order, each with a sentence in plain words."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from clipbert.sampling_config import AGGREGATIONS, POLICY_NAMES, SamplingConfig

MOST_CLIPS, MOST_FRAMES, LEAST_FPS, MOST_FPS = 32, 16, 0.25, 16  # of the sliders


def settings_accordion(defaults: SamplingConfig) -> list[Any]:
    """The six controls; `sampling` makes a SamplingConfig of their values."""
    with gr.Accordion("Settings: how the video is sampled", open=False, elem_id="settings"):
        return [
            gr.Slider(
                1, MOST_CLIPS, defaults.num_clips, step=1, precision=0, label="Clips (N_test)", elem_id="num-clips",
                info="How many short clips the model looks at. Each gives its own answer; the answers are then pooled.",
            ),
            gr.Slider(
                1, MOST_FRAMES, defaults.num_frames, step=1, precision=0, label="Frames per clip (T)", elem_id="num-frames",
                info="How many pictures the model sees of each clip.",
            ),
            gr.Slider(
                LEAST_FPS, MOST_FPS, defaults.fps, step=0.25, label="Frames a second (fps)", elem_id="fps",
                info="How densely a clip is sampled. A clip lasts T / fps seconds.",
            ),
            gr.Dropdown(
                list(POLICY_NAMES), value=defaults.policy, label="Where clips lie (policy)", elem_id="policy",
                info="paper: spread evenly, one clip sits in the middle. official: as the original code. random: by the seed.",
            ),
            gr.Radio(
                list(AGGREGATIONS), value=defaults.aggregation, label="How answers are pooled", elem_id="aggregation",
                info="mean: the average vote. max: the most confident clip for each answer. lse: between them; the paper's best.",
            ),
            gr.Number(
                defaults.seed, precision=0, minimum=0, label="Seed", elem_id="seed",
                info="Fixes the chance in the random policies: the same seed, the same clips.",
            ),
        ]  # fmt: skip


def shown_settings(given: SamplingConfig) -> list[Any]:
    """The updates that make the six controls show these settings; a slider that is too short for one grows."""
    return [
        gr.Slider(value=given.num_clips, maximum=max(MOST_CLIPS, given.num_clips)),
        gr.Slider(value=given.num_frames, maximum=max(MOST_FRAMES, given.num_frames)),
        gr.Slider(value=given.fps, minimum=min(LEAST_FPS, given.fps), maximum=max(MOST_FPS, given.fps)),
        given.policy,
        given.aggregation,
        given.seed,
    ]


def sampling(values: Sequence[Any]) -> SamplingConfig:
    """The settings that the values of the controls say (JSON makes a whole 2.0 a 2).  Raises ValueError for one out of range."""
    if any(value is None for value in values):
        raise ValueError("a setting is empty; give it a number.")
    num_clips, num_frames, fps, policy, aggregation, seed = values
    return SamplingConfig(num_clips, num_frames, float(fps), policy, aggregation, seed)
