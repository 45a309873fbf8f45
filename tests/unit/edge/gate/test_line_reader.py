"""What a guard types or scans is understood or asked about, in Chinese and in English."""

import re
from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.streams.edge.gate.items import Fact, Identity, Unclear, ZoneLines
from ninezero.streams.edge.gate.line_reader import LONGEST, prepared, understand

TODAY = date(2026, 11, 1)
ID = "11010519491231002X"
MRZ = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"]


def read(line: str) -> list[tuple[str, object]] | str:
    """Returns the kind and the value of each item of a line, or the question in English."""
    found = understand(prepared(line), TODAY)
    if isinstance(found, Unclear):
        return found.question.en
    return [
        (item.name, item.value)
        if isinstance(item, Fact)
        else (item.domain, item.normal)
        if isinstance(item, Identity)
        else ("zone", len(item.lines))
        for item in found
    ]


@pytest.mark.parametrize(
    "line",
    [
        "36.5",
        "36,5",
        "36.5度",
        "36.5 °C",
        "36.5℃",
        "３６．５",
        "36。5",
        "36·5",
        "36度5",
        "36.5C",
        "体温 36.5",
        "体温36.5",
        "体温：36.5度",
        "体温是36.5",
        "额温 36.5",
        "T36.5",
        "t 36.5",
        "temp: 36.5",
        "Temperature=36.5",
        "TEMP 36.50",
        "]C136.5",
        " 36.5 ",
    ],
)
def test_a_temperature_is_read_in_every_common_spelling(line: str) -> None:
    assert read(line) == [("temperature", 36.5)]


@pytest.mark.parametrize(
    "line", ["365", "12", "体温 高", "体温 365", "temp 97.7F", "97.7F", "-36.5", "36.555", "体温计坏了", "36-37"]
)
def test_what_is_not_a_temperature_is_asked_about(line: str) -> None:
    assert "not used" in read(line)


@pytest.mark.parametrize(
    ("line", "colour"),
    [
        *[(word, "green") for word in ["绿码", "绿", "绿色", "green", "GREEN", "健康码：绿", "健康码 绿码", "health code green", "green code", "code: green"]],
        *[(word, "yellow") for word in ["黄码", "黄", "yellow", "健康码黄"]],
        *[(word, "red") for word in ["红码", "红", "Red", "健康码 红"]],
        *[(word, "none") for word in ["无码", "没码", "健康码 无", "health code none"]],
        ('{"color":"green"}', "green"),
        (']Q1{"data":{"healthCode":"RED","name":"Green Yellow"}}', "red"),
        ('{“颜色”：“黄码”}', "yellow"),
        ('[{"code_color": "yellow", "phone": "13800138000"}]', "yellow"),
        ("https://jkm.example.cn/c?id=1&color=green", "green"),
        ("HTTPS://JKM.EXAMPLE.CN/C?COLOR=RED", "red"),
        ("jkm.example.cn/c?状态=%E7%BB%BF%E7%A0%81", "green"),
        ("https://jkm.example.cn/#/code?status=yellow", "yellow"),
    ],
)  # fmt: skip
def test_a_health_code_is_read_from_words_json_and_addresses(line: str, colour: str) -> None:
    assert read(line) == [("health_code", colour)]


@pytest.mark.parametrize(
    "line",
    [
        '{"color":"00"}', '{"color":"green","status":"red"}', '{"name":"Green"}', "{not json", "[" * 5000, "https://jkm.example.cn/red",
        "https://[::1", "weixin://dl?token=green", f'{{"id":"{ID}"}}', "行程卡绿", "绿马", "健康码 过期", "no",
        '{"color":"red","color":"green"}',
    ],
)  # fmt: skip
def test_a_code_without_one_colour_is_asked_about(line: str) -> None:
    assert "not used" in read(line)


@pytest.mark.parametrize(
    "end",
    [
        '"status":"expired"', '"state": "已失效"', '"valid": false', '"isValid":"0"', '"expired": true', '"已过期":1', '"exp":"2020-02-08"',
        '"expires":"2020-02-07T08:00:00+08:00"', '"expireTime": 1580000000', '"validUntil":1580000000000', '"有效期":"2020-01-25至2020-02-07"',
        '"有效期至":"2020年2月7日"', '"valid_to":"soon"', '"endTime":"2020-13-40"', '"data":[{"expiry":null}]', '"validity":"EXPIRED"',
    ],
)  # fmt: skip
def test_a_code_that_may_be_expired_is_asked_about(end: str) -> None:
    assert "may be expired" in read('{"color":"green",' + end + "}")
    assert "may be expired" in read("{" + end + ',"data":{"healthCode":"红码"}}')


@pytest.mark.parametrize("query", ["color=green&expired=1", "exp=1580000000&status=yellow", "status=red&valid=false"])
def test_an_address_that_may_be_expired_is_asked_about(query: str) -> None:
    assert "may be expired" in read(f"https://jkm.example.cn/c?{query}")


@pytest.mark.parametrize(
    "end",
    [
        '"expired": false', '"valid": true', '"status":"ok"', '"exp":"2026-12-31"', '"expires":"20261231T080000Z"', '"expireTime": 1893456000',
        '"validUntil":1893456000000', '"有效期":"2020-01-25~2026-12-31"', '"updateTime":"2020-01-25 08:00"', '"name":"Exp. Green"',
    ],
)  # fmt: skip
def test_a_code_that_is_valid_until_a_later_day_is_read(end: str) -> None:
    assert read('{"color":"green",' + end + "}") == [("health_code", "green")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("from 湖北", "420000"), ("来自湖北", "420000"), ("从湖北来", "420000"), ("来自：湖北省", "420000"), ("湖北", "420000"),
        ("from Hubei", "420000"), ("from hubei province", "420000"), ("from 420000", "420000"), ("来自 武汉", "420100"),
        ("来自 湖北 武汉", "420100"), ("来自湖北省武汉市洪山区", "420111"), ("from 济阳", "370115"), ("from 内蒙古", "150000"),
        ("from 吉林", "220000"), ("from 吉林市", "220200"), ("from 北京朝阳", "110105"), ("from 恩施州", None), ("from 美国", "US"),
        ("from us", "US"), ("from UK", "GB"), ("日本", "JP"), ("from South Korea", "KR"), ("from 香港", "810000"),
    ],
)  # fmt: skip
def test_a_place_is_read_by_name_or_code(line: str, code: str | None) -> None:
    assert read(line) == [("origin", code)] if code else "which place" in read(line)


@pytest.mark.parametrize(
    "line", ["from 火星", "from XX", "from 朝阳", "朝阳区", "来自 济阳县", "from 999999", "from", "来自 湖北济南"]
)
def test_a_place_that_is_unknown_or_ambiguous_is_asked_about(line: str) -> None:
    assert "not used" in read(line)


@pytest.mark.parametrize(
    "plate",
    ["鲁A12345", "鲁a12345", "鲁A·12345", "鲁A 12345", "鲁Ａ１２３４５", "鲁AD12345", "鲁A12345D", "WJ鲁1234X", "WJ 鲁 1234X", "wj-鲁-1234x", "WJ01消1234", "民航A1234", "京A1234警", "沪A0023领", "使014578", "224578使", "粤Z1234港", "粤Z1234澳", "鲁A1234挂", "鲁A1234学", "鲁A1234超", "鲁A1234试", "京S1234应急", "京A12345临", "车牌 KA12345", "车牌：鲁A12345", "plate 鲁A12345"],
)  # fmt: skip
def test_every_kind_of_chinese_plate_is_read(plate: str) -> None:
    found = understand(prepared(plate), TODAY)
    assert isinstance(found, list) and isinstance(found[0], Identity)
    assert (found[0].domain, found[0].misread) == ("plate", False)


@pytest.mark.parametrize(
    "line",
    [
        "体温",
        "京东",
        "川菜 5",
        "KA12345",
        "鲁A123 36",
        "卾A12345",
        "你好世界你好",
        "鲁",
        f"车牌 {ID}",
        "plate 13800138000",
    ],
)
def test_what_is_not_surely_a_plate_is_asked_about(line: str) -> None:
    assert "not used" in read(line)


@pytest.mark.parametrize(
    "line",
    [ID, ID.lower(), "110105 19491231 002x", "１１０１０５１９４９１２３１００２Ｘ", f"]C1{ID}", f"身份证{ID}", f"身份证号码：{ID}", f"id {ID}", f"ID{ID}", "110105491231002"],
)  # fmt: skip
def test_spellings_of_one_identity_card_are_one_document(line: str) -> None:
    assert read(line) == [("id", ID)]


@pytest.mark.parametrize(
    "line",
    [
        ID[:-1],
        ID + "1",
        ID + "440524188001010014",
        "123456789012345678",
        "123456789012345",
        f"张三,男,{ID}",
        "id 13800138000",
        "name Li",
    ],
)
def test_numbers_that_are_no_identity_card_are_asked_about(line: str) -> None:
    question = read(line)
    assert "not used" in question and not any(char.isdigit() and len(char) > 2 for char in question.split())


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("13800138000", ("phone", "8613800138000")), ("138 0013 8000", ("phone", "8613800138000")),
        ("+86 138-0013-8000", ("phone", "8613800138000")), ("电话：13800138000", ("phone", "8613800138000")),
        ("0531-84231234", ("phone", "8653184231234")), ("pass JZ-7", ("pass", "JZ7")), ("通行证 JZ-7", ("pass", "JZ7")),
        ("UTO/L898902C3", ("passport", "UTO/L898902C3")), ("护照 uto l898902c3", ("passport", "UTO/L898902C3")),
        (MRZ[0], ("zone", 1)), (MRZ[0].lower(), ("zone", 1)), ("".join(MRZ), ("zone", 2)), (" ".join(MRZ), ("zone", 2)),
        ("港澳通行证 C12345678", ("passport", "CHN/C12345678")), ("台胞证12345678", ("passport", "CHN/12345678")),
        ("chinese passport E12345678", ("passport", "CHN/E12345678")), ("护照 DEU/C01X00T47", ("passport", "D/C01X00T47")),
        ("(0531)84231234", ("phone", "8653184231234")), ("电话 13800138000(母亲)", ("phone", "8613800138000")),
        ("v", ("vehicle", True)), ("车辆", ("vehicle", True)), ("行人", ("vehicle", False)), ("出", ("direction", "out")), ("IN", ("direction", "in")),
        ("无证件", ("no_document", True)), ("no document", ("no_document", True)),
    ],
)  # fmt: skip
def test_other_items_are_read(line: str, item: tuple[str, object]) -> None:
    assert read(line) == [item]


@pytest.mark.parametrize(
    "line",
    [
        "护照 E12345678",
        "E12345678",
        "phone 123",
        MRZ[0][:-1],
        MRZ[1] + MRZ[0],
        "x" * (LONGEST + 1),
        "]C1",
        "ok",
    ],
)
def test_what_is_incomplete_or_unknown_is_asked_about(line: str) -> None:
    assert "not used" in read(line)


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        (f"鲁A12345 {ID} 36.5 绿码", ["plate", "id", "temperature", "health_code"]),
        ("from 湖北 36,5", ["origin", "temperature"]),
        ("36.5,36.8", ["temperature", "temperature"]),
        ("36.5，绿码；来自 湖北 武汉", ["temperature", "health_code", "origin"]),
        ("v 36.5", ["vehicle", "temperature"]),
        ("鲁A12345 36", ["plate", "temperature"]),
        ("鲁A 12345 37", ["plate", "temperature"]),
    ],
)
def test_several_items_in_one_line_are_read_if_each_is_sure(line: str, kinds: list[str]) -> None:
    found = read(line)
    assert isinstance(found, list) and [kind for kind, _ in found] == kinds


@pytest.mark.parametrize("line", ["pass JZ-7 36.5", f"{ID} 张三", "36.5 ok", "UTO/L898902C3 36", "鲁A12345 体温高"])
def test_a_line_that_is_only_partly_sure_is_asked_about(line: str) -> None:
    assert "not used" in read(line)


def test_the_second_line_of_a_zone_may_have_no_filler() -> None:
    second = MRZ[1].replace("<", "0")
    assert isinstance(understand(second, TODAY, zone_begun=True), list)
    assert isinstance(understand(second, TODAY), Unclear)
    assert isinstance(understand(MRZ[1], TODAY)[0], ZoneLines)


@pytest.mark.parametrize(
    "line", ["护照 UTO/L898902C3/L898902C4", "pass P0001 P0002", f"{ID}/440524188001010014", ID + ID]
)
def test_two_numbers_of_one_kind_are_not_joined(line: str) -> None:
    assert read(line) == "two numbers in one line, and not used: scan one at a time"


@pytest.mark.parametrize("line", ["1-310-555-0100", "电话 1-310-555-0100"])
def test_a_phone_of_two_countries_is_asked_about(line: str) -> None:
    assert "a Chinese number or one of another country" in read(line)
    assert read(f"+{line.removeprefix('电话 ')}") == [("phone", "13105550100")]


@pytest.mark.parametrize(
    "line",
    [
        "车牌 无",
        "车牌没有",
        "plate none",
        "plate plate",
        "car red",
        "pass no",
        "pass none",
        "通行证 无",
        "通行证 ok",
        "pass green",
    ],
)
def test_a_word_behind_the_name_of_a_number_is_no_number(line: str) -> None:
    assert "has a digit, and this was not used" in read(line)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("plate no. 鲁A12345", ("plate", "鲁A12345")), ("licence plate number: 鲁A12345", ("plate", "鲁A12345")), ("id card " + ID, ("id", ID)),
        ("ID card No: " + ID, ("id", ID)), ("passport number UTO L898902C3", ("passport", "UTO/L898902C3")), ("pass NO5", ("pass", "NO5")),
        ("phone no. 13800138000", ("phone", "8613800138000")), ("health code no", ("health_code", "none")),
    ],
)  # fmt: skip
def test_a_name_may_end_with_number_or_card(line: str, item: tuple[str, str]) -> None:
    assert read(line) == [item]


@pytest.mark.parametrize(
    "name",
    [
        "电话",
        "phone",
        "身份证",
        "id",
        "护照",
        "passport",
        "车牌",
        "plate",
        "通行证",
        "体温",
        "temp",
        "复测",
        "健康码",
        "来自",
        "from",
        "方向",
        "姓名",
        "港澳通行证",
    ],
)
def test_a_name_before_marks_alone_is_asked_about(name: str) -> None:
    for marks in ("-", "(", "()", "/", "·", "--", "+", ":", "。。", "<<<", "\u200b", "'"):
        assert "not used" in read(f"{name} {marks}"), marks


ITEMS = [
    "36.5", "36，5", "36。5", "体温36.5", "t36.5", "37.3度", "36度5", "复测 37.8", "鲁A12345", "鲁A·12345", "鲁AD12345", "粤Z1234港", "WJ鲁1234X", "使014578", ID,
    "440524188001010014", "UTO/L898902C3", "港澳通行证 C12345678", "13800138000", "+1 310 555 0100", "通行证 JZ-7", "绿码", "来自 湖北", "无证件", "v", "out",
]  # fmt: skip
BETWEEN = [" ", ",", "，", ";", "/", "、", "|", "", "-", "+", "。", "·"]
TYPED = "0123456789XOIl.,。·-/ ABCDEF鲁京港湖红码度温tTfF：=+<(号的"


def test_no_digit_of_a_line_that_is_used_is_lost() -> None:
    """Items with anything between them and a wrong character or two: every digit is in an item, or the line is asked about."""
    used = Counter[int]()

    @settings(max_examples=1500, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(ITEMS), st.sampled_from(BETWEEN)), min_size=1, max_size=3),
        st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["", *TYPED]), st.booleans()), max_size=2),
    )
    def check(items: list[tuple[str, str]], errors: list[tuple[int, str, bool]]) -> None:
        line = "".join(item + between for item, between in items)
        for at, char, replaces in errors:
            line = line[:at] + char + line[at + replaces :]
        found = understand(prepared(line), TODAY)
        if isinstance(found, Unclear) or any(isinstance(item, Fact) and item.name == "origin" for item in found):
            return
        values = "".join(
            item.normal if isinstance(item, Identity) else str(getattr(item, "value", getattr(item, "lines", "")))
            for item in found
        )
        lost = Counter(re.findall("[0-9]", prepared(line))) - Counter(re.findall("[0-9]", values))
        assert lost.keys() <= {"0"}, line  # 36.50 is 36.5, and a trunk prefix is no part of a phone number
        used[len(found)] += 1

    check()
    assert used[1] > 100 and used[2] > 20, used
