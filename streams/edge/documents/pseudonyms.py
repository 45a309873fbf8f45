"""The token of a normal form (CONTRACT §1)."""

import hmac

from ninezero.streams.edge.documents.normal_forms import Domain

_PREFIXES: dict[str, bytes] = {
    domain: f"{domain}\0".encode() for domain in ("id", "passport", "phone", "plate", "pass")
}


def token(key_id: str, key: bytes, domain: Domain, normalised: str) -> str:
    """The pseudonym of a normal form: `key_id.` + the first 32 hex digits of HMAC-SHA256(key, domain, NUL, text).

    Raises ValueError, quoting nothing, for an empty text, one that is not Unicode, or an unknown domain.
    """
    prefix = _PREFIXES.get(domain)
    try:
        text = normalised.encode()
    except UnicodeEncodeError:  # it carries the text, so it is left behind here and not chained
        text = b""
    if prefix is None or not text:
        raise ValueError("only a normal form that is not empty, in one of the five domains, has a token")
    return f"{key_id}.{hmac.digest(key, prefix + text, 'sha256').hex()[:32]}"
