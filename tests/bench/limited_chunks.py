"""Runs the command `ninezero` with a given maximum of records in a chunk: `python -m tests.bench.limited_chunks RECORDS worker …`."""

from __future__ import annotations

import sys

from ninezero.agents.cli.main import main
from ninezero.streams.transport import consumer

if __name__ == "__main__":
    consumer.MAX_CHUNK_RECORDS = int(sys.argv.pop(1))
    main()
