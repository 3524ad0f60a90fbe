"""Files that are asked for by names that no file can have: not found, as any other that is not there."""

from __future__ import annotations

import errno
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from streamlit.web.server.starlette.starlette_path_security_middleware import PathSecurityMiddleware

_NO_NAME = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EILSEQ})


def answer_impossible_names() -> None:
    """From now on such a request is answered with 404, where Streamlit fails with a traceback in the log."""
    asked: Any = PathSecurityMiddleware.__call__
    if hasattr(asked, "answered"):
        return

    async def call(self: PathSecurityMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def note_and_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await asked(self, scope, receive, note_and_send)
        except OSError as error:
            if scope["type"] != "http" or begun or error.errno not in _NO_NAME:
                raise
            await PlainTextResponse("Not Found", status_code=404)(scope, receive, send)

    call.answered = True  # type: ignore[attr-defined]
    PathSecurityMiddleware.__call__ = call  # type: ignore[method-assign]
