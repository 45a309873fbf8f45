"""The kinds of documents that a list names beside a number, in Chinese and English, and the kind of identity that each one is."""

import re
import unicodedata
from typing import NamedTuple

from ninezero.streams.edge.documents.issuing_states import named_state
from ninezero.streams.edge.documents.normal_forms import Domain

_LONGEST = 64


class DocumentType(NamedTuple):
    """What the number of a document is."""

    domain: Domain
    state: str | None = None
    """The issuing state, if documents of this type have only one."""


_NAMES: dict[DocumentType, str] = {
    DocumentType(
        "id"
    ): "身份证 居民身份证 二代身份证 二代居民身份证 第二代身份证 第二代居民身份证 中国身份证 中国居民身份证 大陆身份证 大陆居民身份证"
    " 内地身份证 内地居民身份证 公民身份证 公民身份号码 身份证号 身份证号码 居民身份证号 居民身份证号码 身份證 居民身份證 臨時身份證 临时身份证 临时居民身份证 中华人民共和国居民身份证 户口簿 户口本 居民户口簿 居住证 港澳台居住证 港澳台居民居住证 港澳居民居住证 港澳居住证"
    " 香港居民居住证 澳门居民居住证 台湾居民居住证 台湾居住证 外国人永久居留身份证 外国人永久居留证 永久居留身份证 永久居留证 外国人身份证 五星卡"
    " id idcard idno idnumber identitycard identification identificationcard nationalid nationalidcard residentid residentidcard residentidentitycard"
    " prcid chineseid chineseidcard chinaid residencepermit permanentresidencecard permanentresidencepermit permanentresidentcard"
    " foreignpermanentresidentidcard greencard",
    DocumentType(
        "passport"
    ): "护照 護照 普通护照 因私护照 因私普通护照 因公护照 因公普通护照 公务护照 公务普通护照 外交护照 外国护照 外籍护照 外国人护照 国外护照"
    " 境外护照 电子护照 护照号 护照号码 passport ordinarypassport officialpassport servicepassport diplomaticpassport foreignpassport epassport"
    " passportno passportnumber",
    DocumentType(
        "passport", "CHN"
    ): "中国护照 中國護照 臺胞證 台胞證 回鄉證 港澳通行證 中华人民共和国护照 旅行证 中国旅行证 中华人民共和国旅行证 香港护照 澳门护照 香港特别行政区护照 澳门特别行政区护照 港澳通行证"
    " 往来港澳通行证 港澳居民来往内地通行证 港澳居民往来内地通行证 港澳居民通行证 港澳来往内地通行证 港澳往来内地通行证 来往内地通行证 回乡证 港澳回乡证 港澳同胞回乡证"
    " 港澳同胞证 港澳台通行证 香港居民来往内地通行证 澳门居民来往内地通行证 台胞证 台湾同胞证 台湾居民来往大陆通行证 台湾居民往来大陆通行证 台湾居民通行证 台湾来往大陆通行证"
    " 来往大陆通行证 台湾通行证 往来台湾通行证 大陆居民往来台湾通行证 chinesepassport chinapassport prcpassport hkpassport hongkongpassport macaopassport macaupassport"
    " hometravelpermit homereturnpermit mainlandtravelpermit mainlandtravelpermitforhongkongandmacaoresidents"
    " mainlandtravelpermitfortaiwanresidents hongkongmacaotravelpermit hkmacaotravelpermit hkmacaopermit taiwancompatriotpermit"
    " taiwantravelpermit mtp eep eeptohongkongandmacao exitentrypermit",
    DocumentType("passport", "TWN"): "台湾护照 taiwanpassport",
    DocumentType("pass"): "健康通行证 健康证明 出入证 健康通行证号 healthpass healthcertificate",
}
_TYPES = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|【[^【】]*】|\{[^{}]*\}")
_PARTS = re.compile(r"[()\[\]【】{}/|,;、]|(?<=[a-z])\s*(?=[^\x00-\x7f])|(?<=[^\x00-\x7f])\s*(?=[a-z])")
"""Marks between two names, and the change from one language to the other."""


def document_type(text: str) -> DocumentType | None:
    """Returns what a document type of a list means, or None if it is not known.

    Numbers and marks beside the name are not read: `01-居民身份证`, `护照（外国）`. A code without a name is not known, because the
    codes of different standards differ.
    """
    if len(text) > _LONGEST:
        return None
    text = unicodedata.normalize("NFKC", text).casefold()
    found = _TYPES.get(_letters(text)) or _passport_of_a_state(text)
    if found is None:
        parts = {_TYPES.get(_letters(part)) for part in _PARTS.split(text) if _letters(part)}
        found = parts.pop() if len(parts) == 1 else _TYPES.get(_letters(_BRACKETS.sub("", text)))
    return found


def _passport_of_a_state(text: str) -> DocumentType | None:
    """Returns the type of a passport that is named with its issuing state: 美国护照, 护照（美国）, Japan passport."""
    before, _, after = text.partition("护照" if "护照" in text else "passport")
    if before == text:
        return None
    states = [part.strip(" ()[]【】-:") for part in (before, after)]
    named = [state for state in states if state]
    code = named_state(named[0]) if len(named) == 1 else None
    return DocumentType("passport", code) if code else None


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalpha())
