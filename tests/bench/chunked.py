"""The product's command, with so many records in a chunk at most: python -m tests.bench.chunked RECORDS worker …"""

from __future__ import annotations

import sys

from ninezero.agents.cli.main import main
from ninezero.streams.transport import consumer as chunks

if __name__ == "__main__":
    chunks.CHUNK_RECORDS = int(sys.argv.pop(1))
    main()
