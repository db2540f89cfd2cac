"""Results of the command as tables with bars, for people; `--json` is for programs."""

from typing import Any

BAR = 24


def answer(result: dict[str, Any]) -> None:
    ranked = sorted(zip(result["scores"], result["candidates"], strict=True), reverse=True)[:5]
    print(f"{result['question']}\n")
    doubt = "" if result["sure"] else "not sure; perhaps: "
    source = f"model {result['model']}, {len(result['clips'])} clips, {result['aggregation']}"
    print(f"  {doubt}{result['answer']}   ({100 * ranked[0][0]:.0f} %; {source})\n")
    width = max(len(name) for _, name in ranked)
    for score, name in ranked:
        print(f"  {name:<{width}}  {bar(score)} {100 * score:5.1f} %")
    if (adaptive := result.get("adaptive")) is not None:
        until = "until the answer was settled" if adaptive["settled"] else "and the answer is not settled"
        print(f"\n  read {adaptive['num_read']} of {adaptive['num_planned']} clips, {until} (a lead of {adaptive['margin']:.2f} nats)")
    print("\n  clip  seconds            its own answer" + " " * 12 + "contribution (nats)")
    largest = max(abs(clip["contribution"]) for clip in result["clips"]) or 1.0
    for n, clip in enumerate(result["clips"], 1):
        own = max(clip["scores"])
        vote = f"{clip['answer'][:18]} {100 * own:.0f} %"
        share = ("-" if clip["contribution"] < 0 else " ") + bar(abs(clip["contribution"]) / largest, 12)
        print(f"  {n:>4}  {clip['start']:7.2f} - {clip['end']:<7.2f}  {vote:<24} {clip['contribution']:+.3f} {share}")
    if "sampler" in result:
        cost = f"{result['frames_decoded']} frames decoded, {result['sampling_flops'] / 1e9:.1f} GFLOP to look and to encode"
        print(f"\n  clips chosen by {result['sampler']} of {result['num_candidates']} candidates: {cost}")
    for notice in result["notices"]:
        print(f"\n  note: {notice}")


def batch(result: dict[str, Any]) -> None:
    reused = f", {result['reused']} of them before" if result["reused"] else ""
    print(f"wrote {result['out']}: {result['rows'] - len(result['failed'])} of {result['rows']} rows answered{reused} (model {result['model']})")
    for found in result["failed"]:
        print(f"  line {found['line']}: {found['error']}")


def sample(result: dict[str, Any]) -> None:
    duration = max(result["duration"], 1e-9)
    print(f"{result['duration']:.2f} s, {result['num_frames']} frames, {result['fps']:.3f} frames/s; policy {result['policy']}\n")
    print(f"  clip  seconds            {'timeline':<48}  source frames")
    for n, clip in enumerate(result["clips"], 1):
        first, last = (min(47, int(48 * clip[end] / duration)) for end in ("start", "end"))
        line = "·" * first + "█" * (last - first + 1) + "·" * (47 - last)
        mark = "  (longer than the video)" if clip["shortened"] else ""
        print(f"  {n:>4}  {clip['start']:7.2f} - {clip['end']:<7.2f}  {line}  {' '.join(map(str, clip['frames']))}{mark}")
    for notice in result["notices"]:
        print(f"\n  note: {notice}")


def sweep(result: dict[str, Any]) -> None:
    print(f"{result['question']}   (model {result['model']})\n")
    print("  N_test  " + "".join(f"{how:<28}" for how in ("mean", "max", "lse")))
    by_size: dict[int, list[dict[str, Any]]] = {}
    for row in result["rows"]:
        by_size.setdefault(row["num_clips"], []).append(row)
    for size, rows in by_size.items():
        print(f"  {size:>6}  " + "".join(f"{row['answer'][:18]:<19}{100 * row['score']:4.0f} %   " for row in rows))
    print(f"\n  {result['note']}")


def conversion(result: dict[str, Any]) -> None:
    print(f"wrote {result['out']}: {result['parameters']:,} parameters from {len(result['used'])} keys")
    reasons: dict[str, list[str]] = {}
    for key, reason in result["dropped"].items():
        reasons.setdefault(reason, []).append(key)
    for reason, keys in reasons.items():
        print(f"  dropped {len(keys)} ({reason}): {', '.join(keys)}")


def synthetic(result: dict[str, Any]) -> None:
    print(f"wrote {result['out']} (seed {result['seed']})")
    for file, count in result["rows"].items():
        print(f"  {file:<28} {count:>7} rows")


def index(result: dict[str, Any]) -> None:
    print(f"wrote {result['out']}: {result['videos']} videos, {result['bytes'] / 1e6:.1f} MB, {result['seconds']:.1f} s (model {result['model']})")
    print(f"  {result['added']} of them new or changed, {result['videos'] - result['added']} as they were; {result['removed']} removed")
    for path, why in result["unreadable"].items():
        print(f"  not indexed: {path}: {why}")
    for path, notices in result["partial"].items():
        print(f"  in part: {path}: {'; '.join(notices)}")
    if result["not_videos"]:
        print(f"  {len(result['not_videos'])} other files, whose names are no video's, were left alone")


def search(result: dict[str, Any]) -> None:
    missing = f"; {len(result['unreadable'])} more could not be read when it was made" if result["unreadable"] else ""
    first = f" ({result['first']})" if result.get("first") else ""
    read = f"{result['shortlist']} candidates by {result['cascade']}{first} of " if result.get("cascade") else ""
    print(f"{result['query']}   (model {result['model']}, {read}{result['videos']} videos{missing})\n")
    print("  rank   score  best clip (s)        video")
    for rank, hit in enumerate(result["hits"], 1):
        print(f"  {rank:>4}  {hit['score']:+6.2f}  {hit['start']:7.2f} - {hit['end']:<7.2f}    {hit['path']}")
        for notice in hit["notices"]:
            print(f"          note: {notice}")
    for notice in result["notices"]:
        print(f"\n  note: {notice}")


PANELS = {
    "max_batch": "largest batch", "predicted_batch": "predicted largest batch", "bytes_per_video": "MB per video", "milliseconds": "ms per step",
}  # fmt: skip


def cost(result: dict[str, Any]) -> None:
    settings, one, first = result["settings"], result["predicted_at_1x1"], result["rows"][0]
    weights = f"{one['parameters'] / 1e6:.1f} M random weights"
    print(f"a training step ({result['technique']}) of model {settings['model']} ({weights}), batch {settings['batch_size']}, {settings['dtype']}")
    print(f"{first['device_name']} ({settings['device']}, {first['num_threads']} threads); each point in a fresh process,", end=" ")
    print(f"the median of {settings['repeats']} passes after {settings['warmup']}")
    forward = f"forward: CNN {one['cnn_flops'] / 1e9:.2f}, transformer and head {one['transformer_flops'] / 1e9:.2f}"
    print(f"at N_train=1, T=1, by arithmetic: {one['training_flops'] / 1e9:.2f} GFLOP a step ({forward});", end=" ")
    held = f"{one['activation_bytes'] / 1e6:.0f} MB of activations, {one['step_bytes'] / 1e6:.0f} MB held at most"
    print(f"{held}, {one['traffic_bytes'] / 1e9:.2f} GB moved")
    print(f"roofline of {result['machine']}: {one['roofline_milliseconds']:.3g} ms a step\n")
    for row in result["rows"]:
        at = f"N_train={row['num_clips']:<3} T={row['num_frames']:<3}"
        if row["error"]:
            print(f"  {at} {row['error']}")
            continue
        found = next(((word, row[name]) for word, name in (("", "max_batch"), ("predicted ", "predicted_batch")) if row[name] is not None), None)
        largest = f", {found[0]}largest batch {found[1]}" if found else ""
        spread = f"{row['milliseconds']:9.1f} ms (between quartiles {row['spread']:.1f})"
        print(f"  {at} {spread}   peak {row['peak_bytes'] / 1e6:.0f} MB, {row['bytes_per_video'] / 1e6:.1f} MB per video{largest}")
    print()
    for panel in result["panels"]:
        scale = 1e6 if panel["y"] == "bytes_per_video" else 1
        x = "N_train" if panel["x"] == "num_clips" else "T"
        told = "too few points for a line" if not panel["y"].endswith("batch") else ", ".join(f"{at}: {size}" for at, size in panel["points"])
        if panel["fit"]:
            told = f"{panel['fit']['intercept'] / scale:.1f} + {panel['fit']['slope'] / scale:.1f} {x}  (R² {panel['fit']['r_squared']:.3f})"
        known = ", ".join(f"{at}: {value:g}" for at, value in panel["paper"].items())
        says = {"a": "the paper's largest batch on a V100 of 32 GB", "b": "the paper's R@1", "d": "the paper's R@1"}.get(panel["panel"])
        print(f"  ({panel['panel']}) {PANELS[panel['y']]} = {told}" + (f"; {says}, by {x}: {known}" if says else ""))
    if any(panel["y"] == "bytes_per_video" for panel in result["panels"]):
        print("\n  a CPU has no fixed memory to fill, so the paper's largest batch is bytes per video here")


def doctor(result: dict[str, Any]) -> None:
    for name, state in result.items():
        print(f"{name:<28} {state}")


def bar(share: float, width: int = BAR) -> str:
    filled = round(max(0.0, min(1.0, share)) * width)
    return "█" * filled + "·" * (width - filled)
