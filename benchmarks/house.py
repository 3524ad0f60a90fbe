"""The shape of the house, counted: `python -m benchmarks.house [FOLDER]`, FOLDER being a checkout (this one by default).

Rooms: modules and packages at the top level of `core`. Arrows: imports from one module of `core` to another. Floors: the
longest chain of rooms in which each imports the next. Circles: groups of rooms that import each other around.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grimp
from grimp import ImportGraph


def arrows(graph: ImportGraph) -> set[tuple[str, str]]:
    """Every import, as (importer, imported)."""
    return {(module, other) for module in graph.modules for other in graph.find_modules_directly_imported_by(module)}


def room(module: str) -> str:
    """The room that a module is in: `core.ablation.causal` is in `ablation`."""
    return module.split(".")[1] if "." in module else module


def between_rooms(graph: ImportGraph) -> dict[str, set[str]]:
    """Which rooms each room imports."""
    rooms: dict[str, set[str]] = {room(module): set() for module in graph.modules if module != "core"}
    for importer, imported in arrows(graph):
        if room(importer) != room(imported) and "core" not in (importer, imported):
            rooms[room(importer)].add(room(imported))
    return rooms


def circles(rooms: dict[str, set[str]]) -> list[list[str]]:
    """Groups of rooms, each of which can be reached from every other."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            for other in rooms[waiting.pop()] - found:
                found.add(other)
                waiting.append(other)
        return found

    reach = {name: reached(name) for name in rooms}
    groups = {tuple(sorted(other for other in reach[name] if name in reach[other])) for name in rooms if name in reach[name]}
    return [list(group) for group in sorted(groups)]


def floors(rooms: dict[str, set[str]]) -> int:
    """The number of rooms on the longest way down; meaningless where there are circles."""
    height: dict[str, int] = {}

    def of(name: str, above: frozenset[str]) -> int:
        if name not in height:
            height[name] = 1 + max((of(other, above | {name}) for other in rooms[name] - above), default=0)
        return height[name]

    return max(of(name, frozenset()) for name in rooms)


def main() -> None:
    """Print the counts."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    sys.path.insert(0, str(folder))
    graph = grimp.build_graph("core", cache_dir=None)
    rooms = between_rooms(graph)
    modules = sum(1 for path in (folder / "core").rglob("*.py") if path.name != "__init__.py")
    print(f"modules {modules}, rooms {len(rooms)}, arrows {len(arrows(graph))}, between rooms {sum(map(len, rooms.values()))}")
    print(f"floors {floors(rooms)}, circles {len(circles(rooms))}")
    for circle in circles(rooms):
        print("  circle:", ", ".join(circle))


if __name__ == "__main__":
    main()
