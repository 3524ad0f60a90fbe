"""Torch's settings of the whole process, as they are from the start: a notebook may have set others for its own work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def usual_torch() -> Iterator[None]:
    """Inside, tensors are made in float32, in memory and outside inference mode, unless told otherwise; as before afterwards.

    Loads nothing: where nobody has loaded torch, nobody has changed it.
    """
    torch = sys.modules.get("torch")
    with ExitStack() as stack:
        if torch is not None:
            if torch.get_default_dtype() != torch.float32:
                stack.callback(torch.set_default_dtype, torch.get_default_dtype())
                torch.set_default_dtype(torch.float32)
            # Each only where it is needed: the first of them slows every operation.
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            if torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
        yield
