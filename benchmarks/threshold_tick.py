"""Moving the threshold: the server's work for one tick, and whether a figure is sent again.

The work is the processor time of the script's own thread for a whole run of the Heads page: what a busy machine makes a
person wait on top of it is not the page's doing.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, report
from benchmarks.shapes import twelve_by_twelve_folder

ROOT = Path(__file__).resolve().parents[1]
TICKS = 20
GOAL_MS = 50.0


def measured_ticks(model: str) -> dict[str, Any]:
    """Each tick's script run on the Heads page of `model`, in milliseconds, and how many figures the ticks changed.

    A message that is the same as before is not sent again, only named.
    """
    import streamlit.runtime.scriptrunner.script_runner as script_runner
    from streamlit.testing.v1 import AppTest

    times: list[float] = []
    run = script_runner.exec_func_with_error_handling

    def timed(function: Callable[..., object], context: object) -> object:
        begin = time.thread_time()
        try:
            return run(function, context)  # type: ignore[arg-type]
        finally:
            times.append(1e3 * (time.thread_time() - begin))

    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    app.query_params["model"] = model
    app.run()
    app.switch_page("pages/1_Heads.py").run()
    assert not app.exception and app.title[0].value.startswith("Heads"), [error.message for error in app.exception]
    app.slider(key="threshold").set_value(0.2).run()
    # The warm start, which every server makes once, is over before the ticks that count.
    while gc.get_freeze_count() == 0:
        time.sleep(0.1)
    script_runner.exec_func_with_error_handling = timed  # type: ignore[assignment]
    figures, sent_again = _figures(app), 0
    for tick in range(TICKS):
        app.slider(key="threshold").set_value(round(0.3 + 0.01 * tick, 2)).run()
        before, figures = figures, _figures(app)
        sent_again += sum(old != new for old, new in zip(before, figures, strict=True))
    return {"milliseconds": times, "figures": len(figures), "sent_again": sent_again}


def _figures(app: Any) -> list[bytes]:
    return [chart.proto.SerializeToString(deterministic=True) for chart in app.get("plotly_chart")]


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def main() -> list[Row]:
    """SmolLM2's 30 x 9 heads, and 12 x 12 heads of a random model."""
    rows = _rows("30 x 9 heads", "smollm2-135m")
    with tempfile.TemporaryDirectory() as models:
        twelve_by_twelve_folder(Path(models) / "twelve")
        with _environment(HEADSCOPE_MODELS=models):
            rows += _rows("12 x 12 heads", "twelve")
    return report("A tick of the threshold", rows)


def _rows(heads: str, model: str) -> list[Row]:
    # What the page shows is measured before: a tick is about a page that is there.
    subprocess.run([sys.executable, "-m", "core", "score", "--model", model], capture_output=True, check=True, cwd=ROOT)
    # A process of its own: nothing that another benchmark imported or remembers helps or hinders.
    command = [sys.executable, "-m", "benchmarks.threshold_tick", model]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout.splitlines()[-1])
    times = found["milliseconds"]
    slowest = f"slowest of {len(times)}: {max(times):.0f} ms"
    figures = f"of {found['figures']}, at any of {len(times)} ticks"
    return [
        Row(f"{heads}: server work", statistics.median(times), GOAL_MS, unit="ms", beside=slowest),
        Row(f"{heads}: figures sent again", found["sent_again"], 0, unit="figures", beside=figures),
    ]


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(json.dumps(measured_ticks(sys.argv[1])), flush=True)
        # A session's background work (the warm start) is not waited for, and torch's threads do not like being left.
        os._exit(0)
    else:
        main()
