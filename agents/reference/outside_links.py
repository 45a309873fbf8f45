"""MkDocs hook: links from a page to a file outside `docs/`, such as `../deploy/README.md`.

In the checkout such a link leads to the file. The built site has no such file, so there the link becomes its text. A link to a
file that does not exist fails the strict build.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

log = logging.getLogger("mkdocs.hooks.outside_links")

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Returns the page with its links out of `docs/` replaced by their text. MkDocs calls it for each page."""
    docs = Path(config.docs_dir).resolve()
    source = Path(page.file.abs_src_path).resolve()

    def replaced(link: re.Match[str]) -> str:
        target = (source.parent / link[2]).resolve()
        if target.is_relative_to(docs):
            return link[0]
        if not target.exists():
            log.warning("%s links to %s, which does not exist", page.file.src_path, link[2])
        return link[1]

    return _LINK.sub(replaced, markdown)
