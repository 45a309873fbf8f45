"""The words that guards type: commands, facts, and the names that stand before a value."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.gate import texts
from ninezero.streams.edge.gate.items import Command, Fact
from ninezero.streams.edge.listfiles.document_types import document_type

ValueName = Domain | Literal["temperature", "confirmed", "health_code", "origin", "direction", "name"]
"""What a name before a value stands for. `name` is a person's name, which is not recorded."""

_COMMANDS: dict[Command, str] = {
    "next": "+ 下一人 下一位 下一个 下个人 next",
    "take_back": "- – — − ー 撤回 撤销 退回 上一步 undo back",
    "replace": "= 替换 replace",
    "clear": "u 清空 重来 重新开始",
    "help": "? h 帮助 help",
    "quit": "q 退出 quit exit",
}
_VEHICLE = ["v", "车", "车辆", "机动车", "有车", "vehicle"]
_PEDESTRIAN = ["行人", "步行", "走路", "pedestrian", "onfoot"]
_NO_DOCUMENT = ["无证件", "没有证件", "没带证件", "未带证件", "无证", "nodocument", "nodocuments"]
_DIRECTIONS = {
    "in": ["in", "进", "入", "进入", "进来", "驶入", "进城", "进村", "进区"],
    "out": ["out", "出", "离开", "外出", "出去", "驶出", "出城", "出村", "出区"],
}

_NAMES: dict[ValueName, str] = {
    "id": "id|身份证|身份证号|身份证号码",
    "passport": "passport|travel document|mrz|护照|护照号|护照号码|旅行证件|机读区",
    "phone": "phone|tel|mobile|电话|电话号|电话号码|手机|手机号|手机号码|联系电话",
    "plate": "plate|car|licence plate|license plate|number plate|车牌|车牌号|车牌号码|号牌|车号",
    "pass": "pass|health pass|通行证|健康通行证|通行证号",
    "temperature": "t|temp|temperature|体温|温度|测温|额温|腕温|耳温",
    "confirmed": "confirm|confirmed|复测|复测体温|再测|再测体温|第二次体温",
    "health_code": "code|health code|healthcode|color|colour|健康码|健康码颜色",
    "origin": "from|origin|来自|来源地|出发地|从",
    "direction": "direction|方向",
    "name": "name|姓名|名字",
}
_STANDS_FOR: dict[str, ValueName] = {
    name: stands_for for stands_for, names in _NAMES.items() for name in names.split("|")
}
_LATIN, _CHINESE = (
    "|".join(sorted((n for n in _STANDS_FOR if n.isascii() is latin), key=len, reverse=True)) for latin in (True, False)
)
_NAMED = re.compile(
    rf"(?P<latin>{_LATIN})(?:\s+(?:card|no\.?|number)){{0,2}}(?:\s*[:=]\s*|\s+)(?P<value>.+)"
    rf"|(?P<close>t|temp|temperature|id|tel|phone)(?P<digits>[0-9+].*)"  # T36.5
    rf"|(?P<chinese>{_CHINESE})\s*(?:号码?)?\s*[是为]?\s*[:=]?\s*(?P<behind>.+)",
    re.IGNORECASE | re.DOTALL,
)


_DOCUMENT_NAME = re.compile(
    r"(?P<latin>[a-z][a-z -]*?)(?:\s*[:=]\s*|\s+)(?P<value>[a-z]*[0-9].*)|(?P<chinese>[\u4e00-\u9fff]+)\s*[:=]?\s*(?P<behind>[a-z]*[0-9].*)",
    re.IGNORECASE,
)
"""The name of a document, and a number. Which names there are is known from lists (`listfiles/document_types.py`)."""


class Named(NamedTuple):
    """A value with the name that stood before it. The repr shows the name only."""

    stands_for: ValueName
    value: str
    state: str | None = None
    """The issuing state of documents that only one state issues, such as 港澳通行证."""

    def __repr__(self) -> str:
        return f"Named({self.stands_for!r}, …)"

    def __rich_repr__(self) -> object:  # rich prints the locals of a traceback with this
        yield self.stands_for


def command(text: str) -> Command | None:
    """Returns the command that a line is, or None."""
    return _BY_WORD.get(text.lower())


_BY_WORD: dict[str, Command] = {word: name for name, words in _COMMANDS.items() for word in words.split()}


def fact(text: str) -> Fact | None:
    """Returns the fact that a word states without a value, such as 车辆 or `out`, or None."""
    word = re.sub(r"\s", "", text.lower())
    if word in _VEHICLE:
        return Fact("vehicle", True, texts.KINDS["vehicle"])
    if word in _PEDESTRIAN:
        return Fact("vehicle", False, texts.KINDS["pedestrian"])
    if word in _NO_DOCUMENT:
        return Fact("no_document", True, texts.NO_DOCUMENT)
    return direction(word)


def direction(word: str) -> Fact | None:
    """Returns the direction that a word names, or None."""
    for name, words in _DIRECTIONS.items():
        if word.lower() in words:
            return Fact("direction", name, texts.DIRECTIONS[name])
    return None


def named(text: str) -> Named | None:
    """Splits a line into the name of a value and the value (`体温 36.5`, `plate: …`); None if it does not begin with a name."""
    found = _NAMED.fullmatch(text)
    if found is None:
        document = _DOCUMENT_NAME.fullmatch(text)
        kind = document_type(document["latin"] or document["chinese"]) if document else None
        if document is None or kind is None:
            return None
        return Named(kind.domain, document["value"] or document["behind"], kind.state)
    name = found["latin"] or found["close"] or found["chinese"]
    value = found["value"] or found["digits"] or found["behind"]
    return Named(_STANDS_FOR[name.lower()], value.strip())
