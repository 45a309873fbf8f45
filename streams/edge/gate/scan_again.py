"""What should be scanned again, in words, for the screen and for `ninezero scan`."""

from collections.abc import Iterable, Mapping

from ninezero.streams.edge.bilingual import Bilingual, joined
from ninezero.streams.edge.device.answers import QualityFinding
from ninezero.streams.edge.documents.flag_reasons import REASONS
from ninezero.streams.edge.gate import texts


def scan_again(findings: Iterable[QualityFinding], *, first_person: int = 1) -> Bilingual | None:
    """Returns *scan again* with the document and the reason of each finding, or None if there is none. It quotes no value.

    Args:
        findings: those of one event.
        first_person: the number that the first person has, 1 on a screen and 0 in the output of a command.
    """
    reasons: dict[tuple[int | None, str | None], list[Bilingual]] = {}
    for finding in findings:
        reasons.setdefault((finding.person, finding.what), []).append(REASONS[finding.flag])
    if not reasons:
        return None
    return texts.SCAN_AGAIN.format(
        why=joined(_about(person, what, first_person, joined(why)) for (person, what), why in reasons.items())
    )


_NAMES: Mapping[str | None, Bilingual] = {
    **{str(domain): name for domain, name in texts.DOMAINS.items()},
    "mrz": texts.TRAVEL_DOCUMENT,
}


def _about(person: int | None, what: str | None, first_person: int, why: Bilingual) -> Bilingual:
    subject = [] if person is None else [texts.PERSON.format(n=person + first_person)]
    subject += [_NAMES[what]] if what in _NAMES else []
    zh, en = (" ".join(part[language] for part in subject) for language in (0, 1))
    return Bilingual(f"{zh}：{why.zh}", f"{en}: {why.en}")
