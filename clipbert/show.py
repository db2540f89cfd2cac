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
    print("\n  clip  seconds            its own answer" + " " * 12 + "contribution (nats)")
    largest = max(abs(clip["contribution"]) for clip in result["clips"]) or 1.0
    for n, clip in enumerate(result["clips"], 1):
        own = max(clip["scores"])
        vote = f"{clip['answer'][:18]} {100 * own:.0f} %"
        share = ("-" if clip["contribution"] < 0 else " ") + bar(abs(clip["contribution"]) / largest, 12)
        print(f"  {n:>4}  {clip['start']:7.2f} - {clip['end']:<7.2f}  {vote:<24} {clip['contribution']:+.3f} {share}")
    for notice in result["notices"]:
        print(f"\n  note: {notice}")


def attribution(result: dict[str, Any]) -> None:
    print(f"{result['question']}\n\n  why {result['target']}: {result['value_function']} (model {result['model']}, {result['method']})\n")
    print(f"  clip  seconds            value ({result['unit']})")
    largest = max(abs(clip["value"]) for clip in result["clips"]) or 1.0
    for n, clip in enumerate(result["clips"], 1):
        share = ("-" if clip["value"] < 0 else " ") + bar(abs(clip["value"]) / largest)
        print(f"  {n:>4}  {clip['start']:7.2f} - {clip['end']:<7.2f}  {clip['value']:+.3f} {share}")
    if result["gap"] is not None:
        total = sum(clip["value"] for clip in result["clips"])
        print(f"\n  sum {total:+.3f}; missing from the whole: {abs(result['gap']):.1e}")
    for notice in result["notices"]:
        print(f"\n  note: {notice}")


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
    for path, why in result["unreadable"].items():
        print(f"  not indexed: {path}: {why}")
    for path, notices in result["partial"].items():
        print(f"  in part: {path}: {'; '.join(notices)}")
    if result["not_videos"]:
        print(f"  {len(result['not_videos'])} other files, whose names are no video's, were left alone")


def search(result: dict[str, Any]) -> None:
    missing = f"; {len(result['unreadable'])} more could not be read when it was made" if result["unreadable"] else ""
    print(f"{result['query']}   (model {result['model']}, {result['videos']} videos{missing})\n")
    print("  rank   score  best clip (s)        video")
    for rank, hit in enumerate(result["hits"], 1):
        print(f"  {rank:>4}  {hit['score']:+6.2f}  {hit['start']:7.2f} - {hit['end']:<7.2f}    {hit['path']}")
        for notice in hit["notices"]:
            print(f"          note: {notice}")
    for notice in result["notices"]:
        print(f"\n  note: {notice}")


def doctor(result: dict[str, Any]) -> None:
    for name, state in result.items():
        print(f"{name:<28} {state}")


def bar(share: float, width: int = BAR) -> str:
    filled = round(max(0.0, min(1.0, share)) * width)
    return "█" * filled + "·" * (width - filled)
