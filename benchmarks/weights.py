"""Loading SmolLM2 from its converted folder, beside reading the file, in time and in memory."""

from __future__ import annotations

import gc

import psutil

from benchmarks.rows import Row, report
from benchmarks.timing import medians
from core.models.catalogue import find_entry, folder_of
from core.models.hf_folder import read_hf
from core.models.load import model_identity

NAME = "smollm2-135m"


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
    before = psutil.Process().memory_full_info().uss
    load()
    own = psutil.Process().memory_full_info().uss - before
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
