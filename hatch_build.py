"""Metadata of the package that depend on where its repository is: the URLs, and the links of its long description.

The repository is NINEZERO_REPOSITORY, an https URL, or the remote `origin` of the checkout. The links lead to the files of the commit
that is built. Without a repository, the metadata have no URLs, and a relative link of the README becomes its text.
"""

from __future__ import annotations

import os
import re
import subprocess
from email import message_from_bytes
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class PackageMetadata(MetadataHookInterface):
    """Sets `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds both fields to the metadata of pyproject.toml. An sdist has them in its PKG-INFO."""
        root = Path(self.root)
        if (root / "PKG-INFO").is_file():
            built = message_from_bytes((root / "PKG-INFO").read_bytes())
            urls = dict(url.split(", ", 1) for url in built.get_all("Project-URL", []))
            text = bytes(built.get_payload(decode=True)).decode()
        else:
            repository, commit = repository_url(root), _git(root, "rev-parse", "HEAD") or "HEAD"
            urls = project_urls(repository, commit) if repository else {}
            text = with_links((root / "README.md").read_text(encoding="utf-8"), repository, commit)
        metadata["urls"] = urls
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def project_urls(repository: str, commit: str) -> dict[str, str]:
    """Returns the links that a package index shows beside the description."""
    return {
        "Source": repository,
        "Documentation": f"{repository}/blob/{commit}/docs/index.md",
        "Changelog": f"{repository}/blob/{commit}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def repository_url(root: Path) -> str | None:
    """Returns the https URL of the repository, or None if it has none, such as a clone of a folder."""
    stated = os.environ.get("NINEZERO_REPOSITORY") or _git(root, "remote", "get-url", "origin")
    url = re.sub(r"^(?:ssh://)?git@([^:/]+)[:/]", r"https://\1/", stated).removesuffix("/").removesuffix(".git")
    return url if re.fullmatch(r"https://[^\s@]+", url) else None


def with_links(text: str, repository: str | None, commit: str) -> str:
    """Returns a Markdown text whose relative links and pictures lead to the files of a commit, or, without a repository, are plain text."""
    relative = r"(?![a-z]+:|#)"
    if repository is None:
        text = re.sub(r"<picture>.*?</picture>\n*", "", text, flags=re.S)
        return re.sub(rf"\[([^\]]*)\]\({relative}[^)\s]+\)", r"\1", text)
    text = re.sub(rf'\b(src|srcset)="{relative}', rf'\1="{repository}/raw/{commit}/', text)
    return re.sub(rf"\]\({relative}", f"]({repository}/blob/{commit}/", text)


def _git(root: Path, *arguments: str) -> str:
    """Returns what git prints, or nothing if there is no git, no checkout or no answer."""
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
