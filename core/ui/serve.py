"""The dashboard's web server as `core run` starts it: what windows may send is bounded before the first one can.

Started by Streamlit's own command it has the same bounds from its first page on, but not before.
"""

from __future__ import annotations

from streamlit.web.cli import main

from core.ui.guard.stand import stand_guard

if __name__ == "__main__":
    stand_guard()
    main(prog_name="streamlit")
