"""The token of a normal form: a keyed one-way pseudonym (CONTRACT §1).

Published vectors for other implementations: `schemas/vectors/pseudonyms.json`.
"""

import hmac

from ninezero.streams.edge.documents.normal_forms import Domain

_PREFIXES: dict[str, bytes] = {
    domain: f"{domain}\0".encode() for domain in ("id", "passport", "phone", "plate", "pass")
}


def token(key_id: str, key: bytes, domain: Domain, normal_form: str) -> str:
    """Returns `key_id.` and the first 32 hex digits of HMAC-SHA256(key, domain + NUL + normal form).

    Raises:
        ValueError: the normal form is empty or not valid Unicode, or the domain is unknown. The message quotes nothing.
    """
    prefix = _PREFIXES.get(domain)
    try:
        text = normal_form.encode()
    except (
        UnicodeEncodeError
    ):  # this error contains the text, so it must not become the context of the one raised below
        text = b""
    if prefix is None or not text:
        raise ValueError("only a normal form that is not empty, in one of the five domains, has a token")
    return f"{key_id}.{hmac.digest(key, prefix + text, 'sha256').hex()[:32]}"
