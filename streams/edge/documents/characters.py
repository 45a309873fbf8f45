"""The characters of an identity that count: NFKC, upper case, without blanks and punctuation (CONTRACT §1)."""

import unicodedata
from functools import lru_cache

_REMOVED = frozenset("\u00b7\u2022\u2027\u2212\u2219\u22c5\u25cf\u30fb\uff0e._/'")
_REMOVED_CLASSES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd"})

# Unicode Script=Han, written out: Python's standard library has no scripts, and the result must not depend on its version.
HAN = (
    "\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufa6d\ufa70-\ufad9\U00016fe2\U00016fe3\U00016ff0\U00016ff1\U00020000-\U0002a6df\U0002a700-\U0002ee5d"
    "\U0002f800-\U0002fa1d\U00030000-\U000323af"
)
"""Han characters, as the inside of a character class of a regular expression."""


def clean(text: str) -> str:
    """Returns the text in NFKC and upper case, without spaces, control characters, dashes, dots and the like."""
    if text.isascii() and text.isalnum():
        return text.upper()
    text = unicodedata.normalize("NFKC", text).upper()
    return "".join(c for c in text if not is_removed(c))


@lru_cache(1024)
def is_removed(character: str) -> bool:
    """Returns whether a character has no meaning in an identity."""
    return character in _REMOVED or unicodedata.category(character) in _REMOVED_CLASSES
