"""Every failure a person can meet, each with one sentence that says what was wrong and what would be right.

Pages show `str(error)`; the command line prints `error: <str(error)>` and exits 2. Anything else that is raised is a
defect of ours, not of the person's.
"""


class HeadScopeError(Exception):
    """Base of the errors whose message is written for the person who uses HeadScope."""


class BadInput(HeadScopeError):
    """An option, file or number that cannot be used as given."""


class Withheld(BadInput):
    """A number that cannot be shown to be right, so it is not shown; the message says why."""


class ModelUnavailable(HeadScopeError):
    """A model that cannot be loaded here: missing, gated, corrupt, unsupported, too big, or out of reach."""


class JobCancelled(HeadScopeError):
    """The work was cancelled before it finished."""
