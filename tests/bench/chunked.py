"""The product's command, with so many records delivered to a worker at once at most: python -m tests.bench.chunked RECORDS worker …"""

from __future__ import annotations

import sys
from typing import Any

import faust

from agents import app
from agents.cli import main

MOST = int(sys.argv.pop(1)) if __name__ == "__main__" else 0


class _App(faust.App):  # type: ignore[misc]  # Faust is untyped here
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings | {"broker_max_poll_records": MOST})


if __name__ == "__main__":
    app.faust.App = _App
    main()
