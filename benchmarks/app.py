"""What a visitor of the app waits for, in headless Chromium, and what memory asking leaves behind.

Prints one JSON line per row.  Each repeat uploads a generated video that the app has not seen (15 s, 320 x 240, 25 frames/s), asks with N clips
of two frames, then pools the votes in another way; times are of the page's own clock, from the click until the page shows it, medians of `--repeats`.
A start is that of `python app/app.py` in a new process, in seconds from the command until a new browser page is drawn and until it shows an answered
example; to measure it without a network, run all of this under `unshare --map-root-user --net sh -c 'ip link set lo up && python benchmarks/app.py'`.
Memory is the server's resident set after a warm-up and after `--asks` more questions by the API.  Needs playwright and /usr/bin/chromium.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from decode import write_video

CHROMIUM = "/usr/bin/chromium"
SINCE_CLICK = """async ([button, shown]) => {
  const start = performance.now(), done = new Function(`return ${shown}`);
  document.querySelector(button).click();
  while (!done()) await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""
FIRST_CARD = "document.querySelector('#clips .clip-card') !== null"


def started(playwright: Any, port: int) -> dict[str, float]:
    """Seconds from the command until the page is drawn, and until it shows an answered example."""
    start = time.monotonic()
    command = [sys.executable, str(Path(__file__).parents[1] / "app" / "app.py"), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[2]
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.set_default_timeout(300_000)
            page.goto(address, wait_until="commit")
            page.wait_for_selector("#question textarea")
            drawn = time.monotonic() - start
            page.wait_for_selector("#answer .big")
            answered = time.monotonic() - start
            browser.close()
        finally:
            server.terminate()
    return {"start to first paint": drawn, "start to an answered example": answered}


def networks() -> list[str]:
    """Network devices that this process can use, other than loopback."""
    return sorted(name for _, name in socket.if_nameindex() if name != "lo")


def asked(page: Any, path: Path, num_clips: int) -> dict[str, float]:
    """Milliseconds to the first clip card, to the answer, and to the answer pooled in another way."""
    with page.expect_file_chooser() as chooser:
        page.click("#open-file")
    chooser.value.set_files(str(path))
    page.wait_for_selector("#answer .big", state="detached")
    page.fill("#question textarea", f"what is in {path.stem}?")
    page.evaluate("window.started = performance.now()")
    first = page.evaluate(SINCE_CLICK, ["#ask", FIRST_CARD])
    page.wait_for_function(f"document.querySelector('#answer .state')?.innerText == 'after all {num_clips} clips'", polling="raf")
    whole = page.evaluate("performance.now() - window.started")
    now = page.evaluate("document.querySelector('#aggregation input:checked').value")
    other = "mean" if now != "mean" else "max"
    switch = page.evaluate(
        SINCE_CLICK, [f"#aggregation input[value={other}]", f"document.querySelector('#answer').innerText.includes('pooled by {other}')"]
    )
    return {"first clip card": first, "answer": whole, "aggregation switch": switch}


def megabytes() -> float:
    """Resident set of this process, in which the server runs."""
    return next(int(line.split()[1]) / 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))


def memory(address: str, path: Path, num_asks: int, num_clips: int) -> tuple[float, float]:
    """Resident MB after a warm-up and after `num_asks` further questions, each another one."""
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False)
    for n in range(5):
        client.predict(handle_file(path), f"warm up {n}?", num_clips, api_name="/ask")
    before = megabytes()
    for n in range(num_asks):
        client.predict(handle_file(path), f"what is number {n}?", num_clips, api_name="/ask")
    client.close()
    return before, megabytes()


def print_rows(about: dict[str, Any], unit: str, times: list[dict[str, float]]) -> None:
    """One line for each name in `times`."""
    for name in times[0] if times else ():
        values = [row[name] for row in times]
        print(json.dumps(about | {"row": name, "unit": unit, "median": round(statistics.median(values), 1), "of": [round(v, 1) for v in values]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="real")
    parser.add_argument("--num-clips", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3, help="0 measures the starts alone")
    parser.add_argument("--asks", type=int, default=50)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--port", type=int, default=7985, help="of the starts")
    args = parser.parse_args()

    from playwright.sync_api import sync_playwright

    sys.path[:0] = [str(Path(__file__).parents[1])]  # this file's own name would hide the package
    from app.app import build_app, launch
    from clipbert.predict import Predictor
    from clipbert.video_worker import start_worker

    load = {
        "command": f"benchmarks/app.py {' '.join(sys.argv[1:])}".strip(), "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
        "load_at_start": round(os.getloadavg()[0], 1), "model": args.model, "N": args.num_clips, "T": 2,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        print_rows(load | {"networks": networks()}, "s", [started(playwright, args.port) for _ in range(args.starts)])
        if not args.repeats:
            return
        os.environ["GRADIO_TEMP_DIR"] = f"{folder}/uploads"
        os.environ.setdefault("CLIPBERT_VIDEO_BACKEND", "process")  # as `serve` does
        start_worker()
        app = build_app(lambda: Predictor.from_pretrained(args.model))
        address = launch(app)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.goto(address)
        page.wait_for_selector("#answer .big")
        page.click("#settings button")
        page.fill("#num-clips input[type=number]", str(args.num_clips))
        page.keyboard.press("Enter")
        times: list[dict[str, float]] = []
        for n in range(args.repeats):
            path = Path(folder) / f"video{n}.mp4"
            write_video(path, 15, 50 + n)  # other key frames: another file
            times.append(asked(page, path, args.num_clips))
        browser.close()
        print_rows(load, "ms", times)
        before, after = memory(address, Path(folder) / "video0.mp4", args.asks, args.num_clips)
        row = {"row": f"memory over {args.asks} asks", "unit": "MB resident", "before": round(before, 1), "after": round(after, 1)}
        print(json.dumps(load | row | {"load_at_end": round(os.getloadavg()[0], 1)}))
        app.close()


if __name__ == "__main__":
    main()
