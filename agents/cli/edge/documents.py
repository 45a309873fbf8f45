"""`ninezero check-document`: checks document numbers without printing them."""

from __future__ import annotations

import csv
import os
import sys
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from ninezero.agents.cli.console import open_lines
from ninezero.streams import settings


def check_document(
    file: Annotated[str, typer.Argument(help="CSV file kind,value[,line2,line3], or - for standard input.")],
) -> None:
    """Checks document numbers, MRZ lines, plates and phones, and prints CSV row,kind,flags without any identity."""
    from ninezero.streams.edge.documents.csv_checks import check_documents

    today = datetime.now(ZoneInfo(settings.timezone(os.environ))).date()
    with open_lines(file) as lines:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("row", "kind", "flags"))
        for row, kind, flags in check_documents(lines, today):
            writer.writerow((row, kind, ";".join(flags)))
