"""HTTP requests to servers of this deployment without the proxies of the environment.

A proxy could read the requests and answer them itself.
"""

from __future__ import annotations

from urllib.request import ProxyHandler, build_opener

ask = build_opener(ProxyHandler({})).open
"""Opens a URL as `urllib.request.urlopen` does, but directly."""
