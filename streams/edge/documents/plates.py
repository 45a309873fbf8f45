"""The forms of vehicle plates in mainland China. Foreign plates, and those of Hong Kong or Macao alone, are not recognised."""

import re

PROVINCE = "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]"
"""The character of a province at the beginning of a plate, as a regular expression."""
_CITY = PROVINCE + "[A-HJ-Z]"  # the letter O is that of the province's police
_ANY = "[A-HJ-NP-Z0-9]"  # GA 36-2018 §5.9: neither I nor O, which resemble digits
_FORMS = re.compile(
    "|".join(
        (
            # GA 36-2018, read as widely as possible, so that no plate that a province issues gets a flag.
            f"{_CITY}(?=.*[0-9]){_ANY}{{5}}",  # cars, lorries, buses, motorcycles
            f"{_CITY}[A-HJK]{_ANY}[0-9]{{4}}",  # new energy, small
            f"{_CITY}[0-9]{{5}}[A-HJK]",  # new energy, large
            f"{_CITY}{_ANY}{{4}}[挂学警试超]",  # trailer, driving school, police, on trial, oversize
            f"{_CITY}{_ANY}{{4,6}}临",  # temporary
            f"粤Z{_ANY}{{4}}[港澳]",  # Hong Kong or Macao, admitted to the mainland
            f"[0-9]{{3}}{_ANY}{{3}}使|使[0-9]{{6}}",  # embassies: country and number; and the form before 2018
            f"{PROVINCE}[0-9]{{3}}{_ANY}{{2}}领|{_CITY}[0-9]{{4}}领",  # consulates: the same two forms
            # Not in GA 36.
            f"{PROVINCE}[SX]{_ANY}{{4}}应急",  # fire and rescue, since 2019
            f"民航{_ANY}{{5}}",  # airports
            f"{PROVINCE}[0-9]{{2}}{_ANY}{{5}}",  # tractors and harvesters (NY 345)
            f"WJ{PROVINCE}?[0-9]{{4}}[A-Z0-9]",  # armed police, form of 2012
            "WJ[0-9]{2}[A-Z0-9消边通森金警电][0-9]{4}",  # armed police, form of 2007
            "[A-HJ-NP-Z]{2}[0-9]{5}",  # armed forces, since 2004
        )
    )
)


def is_recognised(plate: str) -> bool:
    """Returns whether the normal form of a plate, as `normalise("plate", …)` returns it, is one that is issued."""
    return _FORMS.fullmatch(plate) is not None


_RESEMBLING = re.compile(
    f"(?=.*[0-9])(?:{PROVINCE}[A-Z][A-Z0-9]{{4,7}}[挂学警试超临港澳领使]?|{PROVINCE}[A-Z0-9]{{4,7}}[领警挂学]|{PROVINCE}[A-Z][A-Z0-9]{{4,5}}应急"
    f"|WJ{PROVINCE}?[A-Z0-9消边通森金警电]{{4,8}}|民航[A-Z0-9]{{4,6}}|使[A-Z0-9]{{4,8}}|[A-Z0-9]{{4,8}}使)"
)


def resembles(plate: str) -> bool:
    """Returns whether a normal form can only be a plate, although a character of it may be wrong.

    Plates of the armed forces since 2004 are not among them: document numbers have the same form.
    """
    return _RESEMBLING.fullmatch(plate) is not None or (not plate.isascii() and is_recognised(plate))
