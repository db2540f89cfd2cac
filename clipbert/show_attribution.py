"""What `clipbert attribute` prints for people to read."""

from typing import Any

from clipbert.show import bar


def attribution(result: dict[str, Any]) -> None:
    print(f"{result['question']}\n\n  why {result['target']}: {result['value_function']} (model {result['model']}, {result['method']})")
    print(f"  {result['about']}; values in {result['unit']}\n")
    {"clips": _clip_values, "frames": _frame_values, "cells": _cell_values, "tokens": _token_values}[result["level"]](result)
    if result["gap"] is not None and result["level"] == "clips":
        total = sum(clip["value"] for clip in result["clips"])
        print(f"\n  sum {total:+.3f}; missing from the whole: {abs(result['gap']):.1e}")
    if (padding := result.get("on_padding")) is not None:
        print(f"\n  {100 * padding:.1f} % of |values| on cells that show padding alone")
    for tested in result.get("faithfulness", ()):
        _faithfulness(tested)
    if others := result.get("others", ()):
        print("\n  the other methods, on the same units, with the same random orders")
    for tested in others:
        _other_method(tested)
    for checked in result.get("checks", ()):
        _checks(checked)
    for name, why in (pair for missing in result.get("no_map", ()) for pair in missing.items()):
        print(f"  no map by {name}: {why}")
    for notice in result["notices"]:
        print(f"\n  note: {notice}")


def _clip_values(result: dict[str, Any]) -> None:
    print(f"  clip  seconds            value ({result['unit']})")
    _signed_bars(
        [f"{n:>4}  {clip['start']:7.2f} - {clip['end']:<7.2f}" for n, clip in enumerate(result["clips"], 1)],
        [clip["value"] for clip in result["clips"]],
        [f" ({clip['low']:+.3f} to {clip['high']:+.3f})" if "low" in clip else "" for clip in result["clips"]],
    )


def _frame_values(result: dict[str, Any]) -> None:
    for clip in result["clips"]:
        _clip_title(clip, clip["frames"])
        _signed_bars([f"frame at {seconds:7.2f} s" for seconds in clip["times"]], clip["frames"])


def _token_values(result: dict[str, Any]) -> None:
    for clip in result["clips"]:
        _clip_title(clip, clip["tokens"])
        _signed_bars([f"{piece:<18}" for piece in clip["pieces"]], clip["tokens"])


def _cell_values(result: dict[str, Any]) -> None:
    """Rows of cells as the frame has them; of a method that reaches single frames, their sum."""
    for clip in result["clips"]:
        per_frame = isinstance(clip["cells"][0][0], list)
        frames = clip["cells"] if per_frame else [clip["cells"]]
        _clip_title(clip, [value for frame in frames for row in frame for value in row])
        for rows in zip(*frames, strict=True):
            print("  " + " ".join(f"{sum(values):+7.3f}" for values in zip(*rows, strict=True)))


def _clip_title(clip: dict[str, Any], values: list[float]) -> None:
    missing = f", missing from the whole: {abs(clip['gap']):.1e}" if "gap" in clip else ""
    print(f"  clip {clip['clip']}, {clip['start']:.2f} - {clip['end']:.2f} s: sum {sum(values):+.3f}{missing}")


def _signed_bars(names: list[str], values: list[float], remarks: list[str] | None = None) -> None:
    largest = max(map(abs, values), default=0.0) or 1.0
    for name, value, remark in zip(names, values, remarks or [""] * len(names), strict=True):
        print(f"  {name}  {value:+.3f}{remark} {'-' if value < 0 else ' '}{bar(abs(value) / largest)}")


def _faithfulness(tested: dict[str, Any]) -> None:
    summary, where = tested["summary"], f"clip {tested['clip']}" if tested["clip"] is not None else "all clips"
    print(f"\n  {where}, {tested['num_units']} {tested['level']}: {tested['verdict']}")
    print(f"  {tested['measured']}, units taken away by {tested['perturbation']}; {tested['num_orders']} random orders, seed {tested['seed']}\n")
    print("  area under      this order   random   reversed       p")
    for name, better in (("deletion", "lower"), ("insertion", "higher")):
        own, random, backwards = (summary[f"{name}_area_{kind}"] for kind in ("attributed", "random", "reversed"))
        print(f"  {name:<14}  {own:10.3f} {random:8.3f} {backwards:10.3f}   {summary[f'{name}_p']:5.3f}   {better} is better")
    shares = [key.removeprefix("sufficiency_") for key in summary if key.startswith("sufficiency_") and not key.endswith("_random")]
    print("\n  first units           " + "".join(f"{share:>8}" for share in shares))
    for name, what in (("comprehensiveness", "drop without them"), ("sufficiency", "drop with them alone")):
        for kind, suffix in ((what, ""), ("  random order", "_random")):
            print(f"  {kind:<22}" + "".join(f"{summary[f'{name}_{share}{suffix}']:+8.3f}" for share in shares))


def _other_method(tested: dict[str, Any]) -> None:
    """One line: the areas of another method, tested in the same way."""
    summary = tested["summary"]
    areas = ", ".join(f"{name} {summary[f'{name}_area_attributed']:.3f} (p = {summary[f'{name}_p']:.3f})" for name in ("deletion", "insertion"))
    beats = {True: "better than random", False: "not better than random at both", None: "too few units"}[tested["beats_random"]]
    print(f"  {tested['method']:<28} {areas}: {beats}")


def _checks(checked: dict[str, Any]) -> None:
    where = f"clip {checked['clip']}" if checked["clip"] is not None else "all clips"
    print(f"\n  {where}, more metrics of {checked['method']}")
    if (infidelity := checked["infidelity"]) is not None:
        print(f"  infidelity, normalised   {infidelity['unexplained']:.3f}   0 of values that add up, 1 of values that say nothing")
    if checked["sensitivity_max"] is not None:
        print(f"  sensitivity_max          {checked['sensitivity_max']:.3f}   largest relative change of the map as the features change by 2 %")
    signs = checked["sign_violations"]
    rate = "no value is positive" if signs["rate"] is None else f"{signs['rate']:.3f}   {signs['violated']} of {signs['positive']} positive units"
    print(f"  sign violations          {rate}; of all units {signs['random_rate']:.3f}")
    if (randomised := checked["randomisation"]) is not None:
        print("  rank agreement with the map of a model that is random from the top down to")
        print("    " + ", ".join(f"{stage} {agreement:+.2f}" for stage, agreement in randomised["agreements"].items()))
        print(f"    {randomised['verdict']}")
    if checked["rank_agreements"]:
        print("  rank agreement of methods (Spearman)")
        for pair in checked["rank_agreements"]:
            print(f"    {pair['first']:<28} {pair['second']:<28} {'-' if pair['rho'] is None else format(pair['rho'], '+.2f')}")
    for name, why in checked["left_out"].items():
        print(f"  no {name}: {why}")
