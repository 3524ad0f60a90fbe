"""A room full of people in one lesson: how far each window is, what the teacher shows, and a fresh beginning.

Kept in this process and nowhere else: no names, no answers, no addresses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from core.settings.tour_progress import TourProgress
from core.settings.view import View

_MOST_KNOWN = 4096


@dataclass(frozen=True)
class Visit:
    """One window: which page it shows, and how far it is in the tour."""

    page: str
    progress: TourProgress


@dataclass(frozen=True)
class Shown:
    """What the teacher shows to everybody: a page by its script and its name, and a view. Later ones have higher numbers."""

    number: int
    path: str
    label: str
    view: View


class Room:
    """Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._visits: dict[str, Visit] = {}
        self._shown: Shown | None = None
        self._numbers = 0
        self._beginning = 0
        self._open = False

    @property
    def open(self) -> bool:
        """Whether there is a lesson for sure: somebody has opened the teacher's page."""
        return self._open

    def begin(self) -> None:
        """There is a lesson from now on."""
        self._open = True

    def note(self, viewer: str, visit: Visit) -> None:
        """Where a window is now."""
        with self._lock:
            self._visits[viewer] = visit
            while len(self._visits) > _MOST_KNOWN:
                del self._visits[next(iter(self._visits))]

    def leave(self, viewer: str) -> None:
        """A window that is none of the room's, as the teacher's own."""
        with self._lock:
            self._visits.pop(viewer, None)

    def visits(self, present: Callable[[str], bool]) -> tuple[Visit, ...]:
        """The windows that are open, in the order in which they came; those that are closed are forgotten."""
        with self._lock:
            self._visits = {viewer: visit for viewer, visit in self._visits.items() if present(viewer)}
            return tuple(self._visits.values())

    @property
    def shown(self) -> Shown | None:
        """What the teacher shows now."""
        return self._shown

    def show(self, path: str, label: str, view: View) -> Shown:
        """Show a page to everybody, instead of what was shown before."""
        with self._lock:
            self._numbers += 1
            self._shown = Shown(self._numbers, path, label, view)
            return self._shown

    def show_nothing(self) -> None:
        """Take back what is shown."""
        self._shown = None

    @property
    def beginning(self) -> int:
        """How often the lesson was begun anew: a window that knows another number forgets its progress."""
        return self._beginning

    def begin_anew(self) -> None:
        """Forget everybody's progress, and what is shown."""
        with self._lock:
            self._beginning += 1
            self._visits = {viewer: Visit(visit.page, TourProgress()) for viewer, visit in self._visits.items()}
            self._shown = None


_room = Room()


def the_room() -> Room:
    """The one room of this process."""
    return _room
