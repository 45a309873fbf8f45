"""The product's command, with so many records in a chunk at most: python -m tests.bench.chunked RECORDS worker …"""

from __future__ import annotations

import sys

from agents.cli import main
from streams import chunks

if __name__ == "__main__":
    chunks.CHUNK_RECORDS = int(sys.argv.pop(1))
    main()
