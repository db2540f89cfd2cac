"""The synthetic benchmark: the same every time, true, unambiguous, balanced, and visible where it says."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipbert.data.examples import read_examples
from clipbert.data.questions import ANSWERS, LESSONS, NUMBERS, SETTINGS, SHORT_LESSONS, STILL_LESSONS, TASKS, motionqa, rows, singleqa
from clipbert.data.shapes import ACTIONS, COLORS, DIRECTIONS, SHAPES, SLIDE, Act, Figure, box, fits
from clipbert.data.stories import make_short, make_still, make_story
from clipbert.data.synthetic import SHORTS_PER_VIDEO, SPLITS, STILLS_PER_VIDEO, make_dataset
from clipbert.sampling import sample_clips
from clipbert.types import Timeline
from clipbert.video import Video

STORIES = [make_story(3, "train", index) for index in range(120)]
ROWS = [rows(story) for story in STORIES]
QUESTIONS = [(story, row) for story, tasks in zip(STORIES, ROWS, strict=True) for made in tasks.values() for row in made if "question" in row]
LESSON_STORIES = {kind: [make(3, "train", index) for index in range(200)] for kind, make in (("still", make_still), ("short", make_short))}
LEARNT = [
    (story, row)
    for kind, lessons in (("still", STILL_LESSONS), ("short", SHORT_LESSONS))
    for make in lessons.values()
    for story in LESSON_STORIES[kind]
    for row in make(story)
]
SEEN = LEARNT + [(story, row) for story, tasks in zip(STORIES, ROWS, strict=True) for made in tasks.values() for row in made if "evidence" in row]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 videos: ten for training, among them each variant."""
    path = tmp_path_factory.mktemp("shapes")
    make_dataset(path, num_videos=12, seed=7)
    return path


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(folder: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path / "again", num_videos=12, seed=7)
    assert contents(tmp_path / "again") == contents(folder)
    make_dataset(tmp_path / "other", num_videos=3, seed=8)
    other, first = contents(tmp_path / "other"), contents(folder)
    assert all(other[name] != first[name] for name in other if name.startswith(("videos/", "images/", "shorts/")))


@pytest.mark.slow
def test_several_workers_write_what_one_writes(folder: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path, num_videos=12, seed=7, num_workers=2)
    assert contents(tmp_path) == contents(folder)


def test_a_video_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path, num_videos=3, seed=7)
    assert (tmp_path / "videos" / "train-00000.mp4").read_bytes() == (folder / "videos" / "train-00000.mp4").read_bytes()


def test_no_video_or_image_comes_twice_and_rows_stay_in_their_split(folder: Path) -> None:
    pictures = [content for name, content in contents(folder).items() if name.startswith(("videos/", "images/", "shorts/"))]
    assert len(set(pictures)) == len(pictures) == 12 * (1 + STILLS_PER_VIDEO + SHORTS_PER_VIDEO)
    for split in SPLITS:
        for task in (*TASKS, *LESSONS):
            for row in read(folder, f"{task}_{split}"):
                path = row.get("video") or row["image"]
                assert path.split("/")[1].startswith(f"{split}-") and (folder / path).is_file()


def test_train_val_and_test_tell_different_stories() -> None:
    told = {repr(replace(make_story(0, split, index), key="")) for split in SPLITS for index in range(8)}
    assert len(told) == 24


def test_every_row_reads_as_a_row_of_the_users_own(folder: Path) -> None:
    for task in (*TASKS, *LESSONS):
        examples = read_examples(folder / f"{task}_train.jsonl")
        assert len(examples) == len(read(folder, f"{task}_train"))
        assert all(example.is_image == (task in STILL_LESSONS) for example in examples)


def test_the_written_stories_are_the_ones_asked_about(folder: Path) -> None:
    for index, story in enumerate(read(folder, "stories_train")):
        made = make_story(7, "train", index)
        assert story["key"] == made.key and [s["location"] for s in story["scenes"]] == [s.location for s in made.scenes]
        assert [row for row in read(folder, "openqa_train") if row["video"] == made.path] == json.loads(json.dumps(rows(made)["openqa"]))


# An independent reading of question and story: every answer that fits, from the figures alone.


def figures(story: Any) -> list[tuple[Any, Figure]]:
    return [(scene, figure) for scene in story.scenes for figure in scene.figures]


def does(figure: Figure) -> list[str]:
    return [act.verb for act in figure.acts]


C, S, V, N = ("|".join(words) for words in (COLORS, SHAPES, (*ACTIONS, "slide"), NUMBERS))
ORACLE = {
    rf"what does the ({C}) ({S}) do ({N}) times\?": lambda f, c, s, n: does(f)[0] if is_(f, c, s) and len(does(f)) == NUMBERS.index(n) + 1 else None,
    rf"what does the ({C}) ({S}) do after it ({V})s\?": lambda f, c, s, v: does(f)[1] if is_(f, c, s) and does(f)[0] == v else None,
    rf"what does the ({C}) ({S}) do before it ({V})s\?": lambda f, c, s, v: does(f)[0] if is_(f, c, s) and does(f)[1] == v else None,
    rf"what does the ({C}) ({S}) do\?": lambda f, c, s: " ".join(sorted(set(does(f)))) if is_(f, c, s) else None,
    rf"how many times does the ({C}) ({S}) ({V})\?": lambda f, c, s, v: does(f).count(v) if is_(f, c, s) else None,
    rf"which way does the ({C}) ({S}) slide\?": lambda f, c, s: f.acts[0].direction if is_(f, c, s) else None,
    rf"what is the ({C}) thing\?": lambda f, c: f.shape if f.color == c else None,
    rf"what color is the ({S})\?": lambda f, s: f.color if f.shape == s else None,
    rf"what color is the shape that ({V})s\?": lambda f, v: f.color if v in does(f) else None,
    rf"who ({V})s\?": lambda f, v: f.shape if v in does(f) else None,
}
PLACES = {rf"where is the ({S})\?", rf"where does the ({C}) ({S}) ({V})\?", rf"when does the ({C}) ({S}) ({V})\?"}


def is_(figure: Figure, color: str, shape: str) -> bool:
    return (figure.color, figure.shape) == (color, shape)


def true_answers(story: Any, question: str) -> set[Any]:
    for pattern, ask in ORACLE.items():
        if match := re.fullmatch(pattern, question):
            return {ask(figure, *match.groups()) for _, figure in figures(story)} - {None}
    if match := re.fullmatch(r"how many (?:(\w+) )?(\w+?)(?:(?<=cross)es|s) are there\?", question):
        color, shape = match.groups()
        return {NUMBERS[sum(f.shape == shape and color in (None, f.color) for _, f in figures(story)) - 1]}
    match = re.fullmatch(r"(where|when) (?:is|does) the (?:(\w+) )?(\w+)(?: (\w+))?\?", question)
    assert match, f"no rule reads {question!r}"
    what, color, shape, verb = match.groups()
    if color and not verb:
        color, shape = None, color
    named = [(s, f) for s, f in figures(story) if f.shape == shape and color in (None, f.color) and (verb is None or verb in does(f))]
    return {scene.location if what == "where" else scene.daytime for scene, _ in named}


def test_each_question_has_one_answer_and_it_is_the_one_given() -> None:
    for story, row in [*QUESTIONS, *(pair for pair in LEARNT if "question" in pair[1])]:
        assert true_answers(story, row["question"]) == {row["answer"]}, (story.key, row["question"])


def test_stills_and_shorts_are_asked_what_videos_are_asked() -> None:
    asked = {template(row["question"]) for _, row in LEARNT if "question" in row}
    assert asked == {template(row["question"]) for _, row in QUESTIONS} - {"how many times does the _ _ _?"}
    for kind, task in (("still", "stillqa"), ("short", "shortqa")):
        assert all(LESSONS[task](story) for story in LESSON_STORIES[kind] if len(story.scenes[0].figures) == 1)


def test_the_first_lesson_asks_for_color_and_shape_of_what_stands_alone() -> None:
    for story in LESSON_STORIES["still"]:
        types = sorted(row["answer_type"] for row in singleqa(story))
        assert types == (["color", "object"] if len(story.scenes[0].figures) == 1 else [])


def test_the_motion_lesson_asks_only_what_no_single_frame_tells() -> None:
    taught = [row for story in LESSON_STORIES["short"] for row in motionqa(story)]
    assert {row["needs"] for row in taught} == {"motion", "order"}
    assert {row["answer"] for row in taught} >= {*ACTIONS, "slide", *DIRECTIONS}
    assert {row["answer_type"] for row in taught} == {"what", "who", "direction"}


@pytest.mark.parametrize("size", [(160, 120), (120, 160)])
def test_all_that_two_acts_can_be_fits_at_a_radius_of_eight(size: tuple[int, int]) -> None:
    for shape, verb, way in product(SHAPES, ACTIONS, DIRECTIONS):
        before, after = (Act(verb, 0, 9), Act("slide", 9, 9, way)), (Act("slide", 0, 9, way), Act(verb, 9, 9))
        assert all(fits(Figure("red", shape, 8, acts=acts), size) for acts in (before, after))


def test_who_cannot_both_jump_and_slide_at_full_size_is_drawn_smaller() -> None:
    acts = Act("jump", 0, 9), Act("slide", 9, 9, "down")
    assert not fits(Figure("red", "star", 14, acts=acts), (160, 120)) and fits(Figure("red", "star", 11, acts=acts), (160, 120))
    assert all(fits(figure, story.size) for story in LESSON_STORIES["short"] for _, figure in figures(story))


def test_five_choices_hold_the_answer_once() -> None:
    for tasks in ROWS:
        for task in ("action", "transition", "choice"):
            for row in tasks[task]:
                assert len(set(row["choices"])) == 5 and row["answer"] in row["choices"]


def test_of_five_captions_only_the_answer_is_true() -> None:
    for story, tasks in zip(STORIES, ROWS, strict=True):
        true = set(tasks["paragraphs"][0]["caption"].removesuffix(".").split(". "))
        for row in tasks["choice"]:
            assert true & set(row["choices"]) == {row["answer"]}, story.key


def test_captions_say_what_the_story_says() -> None:
    for story, tasks in zip(STORIES, ROWS, strict=True):
        for scene, sentence in zip((s for s in story.scenes if s.kind != "filler"), tasks["paragraphs"][0]["caption"][:-1].split(". "), strict=True):
            words = sentence.split()
            assert {scene.lead.color, scene.location} <= set(words) and SETTINGS[scene.daytime] in sentence
            assert [w[:-1] for w in words if w[:-1] in (*ACTIONS, "slide")] == list(dict.fromkeys(does(scene.lead)))


def test_open_answers_are_the_stated_vocabulary() -> None:
    answers = {row["answer"] for tasks in ROWS for task in ("frameqa", "openqa", "direction") for row in tasks[task]}
    assert answers == set(ANSWERS) and len(ANSWERS) == 41
    assert {row["answer"] for tasks in ROWS for row in tasks["count"]} == set(range(1, 11))


def test_evidence_lies_inside_the_video_and_seconds_are_its_frames() -> None:
    for story, row in SEEN:
        (first, end), (begin, stop) = row["evidence"]["frames"], row["evidence"]["seconds"]
        assert 0 <= first < end <= story.num_frames
        assert (round(begin * story.fps), round(stop * story.fps)) == (first, end)
        for index, boxes in row["evidence"]["boxes"].items():
            assert first <= int(index) < end
            for left, top, right, bottom in boxes:
                assert 0 <= left < right <= story.size[0] and 0 < top < bottom <= story.size[1]


def test_evidence_words_are_words_of_the_text() -> None:
    for _, row in SEEN:
        text = row.get("question") or row.get("caption") or row["answer"]
        assert row["evidence"]["words"] and set(row["evidence"]["words"]) <= set(re.findall(r"\w+", text))


def test_figures_of_a_scene_never_touch() -> None:
    for story in STORIES[:20]:
        for scene in story.scenes:
            for index in range(scene.first_frame, scene.end_frame, 3):
                boxes = [b for figure in scene.figures if (b := box(figure, index))]
                for i, a in enumerate(boxes):
                    assert all(a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for b in boxes[:i])


@pytest.fixture(scope="module")
def decoded(folder: Path) -> list[tuple[Any, np.ndarray]]:
    """Stories of all shapes and containers, with their decoded frames."""
    pairs = []
    for index in (0, 1, 3, 5):
        story = make_story(7, "train", index)
        with Video.open(folder / story.path) as video:
            assert video.num_frames == story.num_frames
            pairs.append((story, video.frames_by_index(range(story.num_frames)).frames.permute(0, 2, 3, 1).numpy().astype(int)))
    return pairs


def test_decoded_boxes_show_the_named_color(decoded: list[tuple[Any, np.ndarray]]) -> None:
    for story, frames in decoded:
        for scene, figure in figures(story):
            for i in (scene.first_frame, scene.first_frame + scene.num_frames // 2, scene.end_frame - 1):
                if (found := box(figure, i)) and found[2] - found[0] >= 10:
                    left, top, right, bottom = found
                    distance = abs(frames[i, top:bottom, left:right] - np.array(COLORS[figure.color])).max(-1)
                    assert (distance < 70).mean() > 0.15, (story.key, i, figure.name)


def test_what_changes_within_a_scene_changes_inside_the_boxes(decoded: list[tuple[Any, np.ndarray]]) -> None:
    for story, frames in decoded:
        for scene in story.scenes:
            middle = scene.first_frame + scene.num_frames // 2
            changed = abs(frames[middle] - frames[scene.first_frame]).max(-1) > 100
            for i in (scene.first_frame, middle):
                for left, top, right, bottom in filter(None, (box(figure, i) for figure in scene.figures)):
                    changed[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = False
            assert not changed.any(), (story.key, scene.kind)


@pytest.mark.parametrize(
    ("index", "variant", "size", "rotation"),
    [(1, "portrait", (160, 120), 0), (3, "gif", (120, 160), 0), (5, "rotated", (160, 120), -90), (9, "long", (120, 160), 0)],
)
def test_variants_open_upright_at_their_length(folder: Path, index: int, variant: str, size: tuple[int, int], rotation: int) -> None:
    story = make_story(7, "train", index)
    assert story.variant == variant and story.path.endswith(".gif") == (variant == "gif")
    with Video.open(folder / story.path) as video:
        assert (video.size, video.rotation, video.notices) == (size, rotation, ())
        assert video.duration == pytest.approx(story.num_frames / story.fps, abs=0.01) and video.fps == pytest.approx(story.fps)
        assert (59 < video.duration < 61) if variant == "long" else (7 < video.duration < 12.5)


def template(question: str) -> str:
    content = {*COLORS, *SHAPES, *ACTIONS, *NUMBERS, "slide"}
    return re.sub(r"\w+", lambda word: "_" if {word[0], word[0][:-1], word[0][:-2]} & content else word[0], question)


def test_a_question_alone_does_not_tell_its_answer() -> None:
    asked = defaultdict(Counter)
    for _, row in QUESTIONS:
        asked[template(row["question"])][row["answer"]] += 1
    assert len(asked) == 15
    for question, answers in asked.items():
        assert max(answers.values()) / answers.total() < 1 / len(answers) + 0.12, question


def test_the_place_and_the_words_of_a_choice_do_not_tell_which_is_true() -> None:
    for task in ("action", "transition", "choice"):
        places = Counter(row["choices"].index(row["answer"]) for tasks in ROWS for row in tasks[task])
        assert max(places.values()) < 0.3 * len(ROWS), task
    shared = []
    for row in (row for tasks in ROWS for row in tasks["choice"]):
        likeness = [sum(len({*a.split()} & {*b.split()}) for b in row["choices"]) for a in row["choices"]]
        shared.append(row["choices"][likeness.index(max(likeness))] == row["answer"])
    assert np.mean(shared) < 0.3


def share_seen(num_clips: int, num_frames: int, policy: str, needs: set[str]) -> float:
    """How many answers are seen: as many evidence frames in one clip of a second as `needs` asks for."""
    seen = []
    for story, tasks in zip(STORIES[:60], ROWS, strict=False):
        if story.variant == "long":
            continue
        timeline = Timeline.regular(story.num_frames, float(story.fps))
        clips = sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=num_frames, policy=policy)
        for row in (row for made in tasks.values() for row in made if row.get("needs") in needs):
            first, end = row["evidence"]["frames"]
            enough = 1 if row["needs"] == "frame" else 2
            seen.append(any(sum(first <= i < end for i in clip.frame_index.tolist()) >= enough for clip in clips))
    return float(np.mean(seen))


EVERY = {"frame", "motion", "order", "length"}


def test_one_clip_in_the_middle_seldom_shows_the_answer() -> None:
    assert 0.1 < share_seen(1, 4, "paper", EVERY) < 0.4


@pytest.mark.parametrize("policy", ["official", "centered"])
def test_sixteen_clips_show_nearly_every_answer(policy: str) -> None:
    assert share_seen(16, 4, policy, EVERY) > 0.95


def test_one_frame_a_clip_shows_no_motion() -> None:
    assert share_seen(16, 1, "centered", {"motion", "order"}) == 0 and share_seen(16, 1, "centered", {"frame"}) > 0.95


def test_a_slide_and_its_opposite_pass_through_the_same_places() -> None:
    left = Figure("red", "star", 9, 90, 60, (Act("slide", 0, 10, "left"),))
    right = Figure("red", "star", 9, 90 - SLIDE, 60, (Act("slide", 0, 10, "right"),))
    there, back = [box(left, i) for i in range(9)], [box(right, i) for i in range(9)]
    assert len(set(there)) == 9 and all(a and b and abs(a[0] - b[0]) <= 1 for a, b in zip(there, back[::-1], strict=True))


def test_some_evidence_is_small() -> None:
    widths = [boxes[0][2] - boxes[0][0] for story, row in SEEN for boxes in row["evidence"]["boxes"].values()]
    assert np.quantile(widths, 0.1) <= 20 and max(widths) >= 40


def test_a_caption_fits_one_video_of_sixty() -> None:
    for start in (0, 60):
        said = Counter(row["caption"] for tasks in ROWS[start : start + 60] for row in tasks["captions"])
        assert sum(times > 1 for times in said.values()) <= 6


def test_progress_is_told_and_readme_comes_last(tmp_path: Path) -> None:
    heard = []

    def heed(*news: object) -> None:
        heard.append((*news, (tmp_path / "README.md").exists()))

    counts = make_dataset(tmp_path, num_videos=4, seed=1, stills_per_video=3, shorts_per_video=2, progress=heed)
    assert heard == [("train", 1, 2, False), ("train", 2, 2, False), ("val", 1, 1, False), ("test", 1, 1, False)]
    readme = (tmp_path / "README.md").read_text()
    assert "clipbert data synthetic OUT --num-videos 4 --seed 1 --stills-per-video 3 --shorts-per-video 2`" in readme
    assert (counts["stills_train.jsonl"], counts["shorts_train.jsonl"]) == (2 * 3, 2 * 2)
    assert f"| {counts['openqa_train.jsonl']} |" in readme
    assert all(len(read(tmp_path, name.removesuffix(".jsonl"))) == number for name, number in counts.items())
    assert not list(tmp_path.rglob("*.part*"))


def test_a_folder_in_use_is_refused_and_an_interrupted_run_is_recognised(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be new or empty; .* is not\. Name another"):
        make_dataset(folder, num_videos=3, seed=0)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path, num_videos=3, seed=0, progress=interrupt)
    with pytest.raises(ValueError, match=r"is not and has no README\.md, as after an interrupted run\. Name another"):
        make_dataset(tmp_path, num_videos=3, seed=0)
    with pytest.raises(ValueError, match="num_videos must be at least 3, one for each split, got 2"):
        make_dataset(tmp_path / "new", num_videos=2, seed=0)
    with pytest.raises(ValueError, match="stills_per_video and shorts_per_video must be at least 1, got 0 and 4"):
        make_dataset(tmp_path / "new", num_videos=3, seed=0, stills_per_video=0)


def test_directions_are_all_asked() -> None:
    assert {row["answer"] for tasks in ROWS for row in tasks["direction"]} == set(DIRECTIONS)
