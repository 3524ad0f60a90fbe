"""Loading SmolLM2 from its converted folder, beside reading the file, in time and in memory."""

from __future__ import annotations

import gc
from pathlib import Path

from benchmarks.rows import Row, report
from benchmarks.timing import medians
from core.models.catalogue import find_entry, folder_of
from core.models.formats.hf_folder import read_hf
from core.models.identity import model_identity

NAME = "smollm2-135m"


def _anonymous_bytes() -> int:
    """This process's memory that is no file's: what the system cannot drop and read again."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def main() -> list[Row]:
    """Both files are in the system's cache after the first turn, so neither waits for a disk."""
    folder, identity = folder_of(find_entry(NAME)), model_identity(NAME)
    assert folder is not None, f"`python -m core models add {NAME}` brings it in"
    path = folder / "model.safetensors"
    models: list[object] = []

    def read() -> int:
        with path.open("rb", buffering=0) as file:
            return len(file.read())

    def load() -> None:
        models.clear()
        models.append(read_hf(folder, identity))

    found = medians({"read": read, "load": load}, repeats=5)
    models.clear()
    gc.collect()
    before = _anonymous_bytes()
    load()
    own = _anonymous_bytes() - before
    size = path.stat().st_size
    return report(
        "Weights (SmolLM2-135M from its converted folder)",
        [
            Row("load over reading the file", found["load"] / found["read"], 3.0, beside=f"{size / 1e6:.0f} MB in fp32"),
            Row("memory of its own, of the file's size", max(0.0, own) / size, 0.5, beside="mapped: the rest is the file"),
        ],
    )


if __name__ == "__main__":
    main()
