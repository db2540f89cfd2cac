"""The endpoints for programs: the same JSON as the commands print, by the same functions."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.asking import one_a_line
from app.settings import sampling
from app.shared import Shared, explained
from clipbert.checks import require_text
from clipbert.results import answer_result, attribution_result, checkup_result, faithfulness_result, sample_result, sweep_result
from clipbert.sampling_config import SamplingConfig


def endpoints(shared: Shared) -> None:
    """Build /ask, /multiple_choice, /sample, /sweep, /attribute and /faithfulness.  Call it inside the Blocks."""
    default, served = SamplingConfig(), _Endpoints(shared)
    with gr.Column(visible=False):
        video = gr.File(label="video", type="filepath")
        question = gr.Textbox(label="question")
        num_clips = gr.Number(default.num_clips, precision=0, label="num_clips")
        num_frames = gr.Number(default.num_frames, precision=0, label="num_frames")
        fps = gr.Number(default.fps, label="fps")
        policy = gr.Textbox(default.policy, label="policy")
        aggregation = gr.Textbox(default.aggregation, label="aggregation")
        seed = gr.Number(default.seed, precision=0, label="seed")
        method = gr.Textbox("clip_shapley", label="method")
        task = gr.Textbox("answer", label="task")
        target, versus = gr.Textbox("", label="target"), gr.Textbox("", label="versus")
        clip, choices = gr.Number(0, precision=0, label="clip"), gr.Textbox("", label="choices")
        perturbation = gr.Textbox("mask", label="perturbation")
    asked = [video, question, num_clips, num_frames, policy, aggregation, seed]
    endpoint(served.ask, asked, concurrency_id="model")
    endpoint(served.multiple_choice, [video, question, choices, num_clips, num_frames, policy, aggregation, seed], concurrency_id="model")
    endpoint(served.sample, [video, num_clips, num_frames, fps, policy, seed])
    endpoint(served.sweep, [video, question, num_frames, policy, seed, choices], concurrency_id="model")
    of_map = [*asked, method, task, target, versus, clip]
    endpoint(served.attribute, [*of_map, choices], concurrency_id="model")
    endpoint(served.faithfulness, [*of_map, perturbation, choices], concurrency_id="model")


class _Endpoints:
    def __init__(self, shared: Shared) -> None:
        self.engine = shared.engine

    def ask(
        self, video: str, question: str, num_clips: int = 16, num_frames: int = 2, policy: str = "paper", aggregation: str = "lse", seed: int = 0
    ) -> dict[str, Any]:
        """The answer to a question about a video, every candidate's probability, each clip's own vote and contribution (nats)."""
        require_text(question, "question")
        predictor = self.engine.predictor()
        encoded = predictor.encode(video, num_clips=num_clips, num_frames=num_frames, policy=policy, seed=seed)
        prediction = predictor.answer(encoded, question, aggregation=aggregation, seed=seed)
        return answer_result(predictor, encoded, prediction, question, seed)

    def multiple_choice(
        self, video: str, question: str, choices: str, num_clips: int = 16, num_frames: int = 2, policy: str = "paper", aggregation: str = "lse",
        seed: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """As ask, among `choices`, one on each line: for models without answers of their own (CLIP, BLIP) the only way."""
        require_text(question, "question")
        predictor = self.engine.predictor()
        encoded = predictor.encode(video, num_clips=num_clips, num_frames=num_frames, policy=policy, seed=seed)
        prediction = predictor.answer(encoded, question, choices=one_a_line(choices), aggregation=aggregation, seed=seed)
        return answer_result(predictor, encoded, prediction, question, seed)

    def sample(self, video: str, num_clips: int = 16, num_frames: int = 2, fps: float = 2.0, policy: str = "paper", seed: int = 0) -> dict[str, Any]:
        """Where the sampling policy puts clips in a video, and which source frames it takes; runs no model."""
        return sample_result(video, sampling((num_clips, num_frames, fps, policy, SamplingConfig().aggregation, seed)))

    def sweep(self, video: str, question: str, num_frames: int = 2, policy: str = "paper", seed: int = 0, choices: str = "") -> dict[str, Any]:
        """The answer (among `choices`, one on each line, if given) for N_test in 1, 2, 4, 8, 16 under mean, max and lse, from one pass."""
        require_text(question, "question")
        predictor = self.engine.predictor()
        rows, note = predictor.sweep(video, question, choices=one_a_line(choices) or None, num_frames=num_frames, policy=policy, seed=seed)
        return sweep_result(predictor, question, rows, note)

    def attribute(
        self, video: str, question: str, num_clips: int = 16, num_frames: int = 2, policy: str = "paper", aggregation: str = "lse", seed: int = 0,
        method: str = "clip_shapley", task: str = "answer", target: str = "", versus: str = "", clip: int = 0, choices: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """How much each clip moved the score (nats) of an answer, of `target` rather than `versus`, or, with task "match", of a caption.

        Methods named frame_, cell_ and token_ explain each clip's own score by its frames, grid cells and word pieces; `clip` names
        one, counted from 1; 0 is all of them.  `choices` are the possible answers, one on each line (default: the model's own).
        It says what moves this model's score, not whether the model is right.
        """
        from clipbert.attribution import attribute

        require_text(question, "question")
        predictor = self.engine.predictor()
        encoded = predictor.encode(video, num_clips=num_clips, num_frames=num_frames, policy=policy, seed=seed)
        found = attribute(
            predictor, encoded, question, method=method, task=task, target=target or None, versus=versus or None, choices=one_a_line(choices) or None,
            aggregation=aggregation, seed=seed, clips=[clip - 1] if clip else None, file=video,
        )  # fmt: skip
        return attribution_result(predictor, encoded, found, question)

    def faithfulness(
        self, video: str, question: str, num_clips: int = 16, num_frames: int = 2, policy: str = "paper", aggregation: str = "lse", seed: int = 0,
        method: str = "clip_shapley", task: str = "answer", target: str = "", versus: str = "", clip: int = 0, perturbation: str = "mask",
        choices: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Does the score follow a map of /attribute?  Deletion and insertion curves beside random orders, of every method of its level.

        Also comprehensiveness and sufficiency, infidelity, sensitivity, sign violations, rank agreement of the methods in pairs, and the map of
        models with random layers.  `clip` names the clip to look into (counted from 1; 0, for methods of clips: all), `perturbation` how units are
        taken away: mask, mean or blur, `choices` the possible answers, one on each line.  It takes tens of seconds.
        """
        from clipbert.attribution import METHODS, attribute
        from clipbert.checkup import checkup, other_maps
        from clipbert.faithfulness import faithfulness

        require_text(question, "question")
        predictor = self.engine.predictor()
        encoded = predictor.encode(video, num_clips=num_clips, num_frames=num_frames, policy=policy, seed=seed)
        if not clip and encoded.num_clips > 1 and METHODS.get(method, METHODS["clip_shapley"]).level != "clips":
            raise ValueError(f"clip says which of the {encoded.num_clips} clips to look into, counted from 1, got 0.")
        wanted: dict[str, Any] = {"task": task, "target": target or None, "versus": versus or None, "aggregation": aggregation, "seed": seed}
        wanted |= {"choices": one_a_line(choices) or None}
        away, asked = wanted | {"perturbation": perturbation, "file": video}, (predictor, encoded, question)
        found = attribute(*asked, method=method, clips=[clip - 1] if clip else None, file=video, **wanted)
        others, without = other_maps(*asked, found, file=video, **wanted)
        known: dict[bytes, float] = {}
        tested = [faithfulness_result(faithfulness(*asked, each, known=known, **away)) for each in (found, *others)]
        return {"faithfulness": tested, "checks": checkup_result(checkup(*asked, found, others=others, **away)), "no_map": without}


def endpoint(function: Callable[..., Any], inputs: list[Any], **event: Any) -> None:
    """Serve `function`, which returns a dictionary, under /its-name; its docstring is the endpoint's description.

    Call it inside the Blocks.  What runs the model passes concurrency_id="model".
    """
    with gr.Column(visible=False):
        trigger, output = gr.Button(), gr.JSON(label="result")
    trigger.click(explained(function), inputs, output, api_name=function.__name__, api_visibility="public", **event)
