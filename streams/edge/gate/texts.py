"""Every text of the screen, each once and in both languages. None quotes an identity."""

from ninezero.schemas.events import Outcome
from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.documents.normal_forms import Domain

DOMAINS: dict[Domain, Bilingual] = {
    "id": Bilingual("身份证", "identity card"),
    "passport": Bilingual("护照", "passport"),
    "phone": Bilingual("电话", "phone"),
    "plate": Bilingual("车牌", "plate"),
    "pass": Bilingual("健康通行证", "pass"),
}
TRAVEL_DOCUMENT = Bilingual("旅行证件", "travel document")
TEMPERATURE = Bilingual("体温 {value} °C", "temperature {value} °C")
CONFIRMED = Bilingual("复测体温 {value} °C", "temperature confirmed {value} °C")
COLOURS = {
    "green": Bilingual("绿码", "health code green"),
    "yellow": Bilingual("黄码", "health code yellow"),
    "red": Bilingual("红码", "health code red"),
    "none": Bilingual("无健康码", "no health code"),
}
FROM = Bilingual("来自 {place}", "from {place}")
DIRECTIONS = {"in": Bilingual("进入", "in"), "out": Bilingual("离开", "out")}
KINDS = {"vehicle": Bilingual("车辆", "vehicle"), "pedestrian": Bilingual("行人", "pedestrian")}
NO_DOCUMENT = Bilingual("无证件", "no document")
PERSON = Bilingual("第 {n} 人", "person {n}")
PEOPLE = Bilingual("{n} 人", "people: {n}")

# -- what became of a line ---------------------------------------------------------------------------------------------
SAME = Bilingual("{what}：与前面相同", "{what}: the same as before")
SCAN_AGAIN = Bilingual("请重新扫描：{why}", "scan again: {why}")
CHECK = Bilingual("请核对：{why}", "check: {why}")
REPLACED_MISREAD = Bilingual("代替读错的那个", "replaces the one that was misread")
REPLACED = Bilingual("{what}：已替换", "{what}: replaced")
TAKEN_BACK = Bilingual("已撤回：{what}", "taken back: {what}")
UNUSED_LINE = Bilingual("没有使用的一行", "the line that was not used")
NOTHING_TO_TAKE_BACK = Bilingual("没有可以撤回的内容", "there is nothing to take back")
NOTHING_TO_REPLACE = Bilingual("没有可以替换的内容", "there is nothing to replace")
CLEARED = Bilingual("这次通行已清空", "passage cleared")
ZONE_LINE = Bilingual("证件第 {n} 行，共 {count} 行", "document line {n} of {count}")
IMPLAUSIBLE = Bilingual("体温不合理，请再测一次", "not plausible: measure again")

# -- questions ---------------------------------------------------------------------------------------------------------
NOT_RECOGNISED = Bilingual(
    "没看懂，没有使用：请写明是什么，例如 体温 36.5，车牌 …，通行证 …（? 帮助）",
    "not recognised, and not used: begin with what it is, for example: temp 36.5, plate …, pass …  (? for help)",
)
NOT_USED = Bilingual("{what}没有使用：{why}", "{what} was not used: {why}")
ANOTHER = Bilingual(
    "这个人已有另一个{what}，这一个没有使用：+ 是下一人的，= 替换原来的，- 不要这一个",
    "this person has another {what} already, and this one was not used: + it is the next person's, = it replaces the first, - drop it",
)
ANOTHER_VALUE = Bilingual(
    "这个人已有{old}，{new}没有使用：+ 是下一人的，= 替换原来的，- 不要这一个",
    "this person has {old} already, and {new} was not used: + it is the next person's, = it replaces the first, - drop it",
)
WHOSE = Bilingual(
    "这个人已有{old}和体温，{new}是谁的？没有使用：+ 是下一人的，= 也是这个人的，- 不要这一个",
    "this person has {old} and temperature already, and the {new} was not used: + it is the next person's, = it is this person's too, - drop it",
)
WHOSE_TEMPERATURE = Bilingual(
    "这个人有两个证件，体温 {value} °C 是谁的？没有使用：+ 是下一人的，= 是这个人的复测，- 不要",
    "this person has two documents, and the temperature {value} °C was not used: + it is the next person's, = it confirms this person's, - drop it",
)
ANOTHER_PLATE = Bilingual(
    "这次通行已有另一个车牌，这一个没有使用：= 替换原来的，- 不要这一个",
    "the passage has another plate already, and this one was not used: = it replaces the first, - drop it",
)
PROBABLY_MISREAD = Bilingual(
    "{what}可能读错了（{why}），没有使用：请重新扫描；+ 是下一人的，= 替换原来的，- 不要这一个",
    "{what} was probably misread ({why}), and was not used: scan it again; + it is the next person's, = it replaces the first, - drop it",
)
PLATE_PROBABLY_MISREAD = Bilingual(
    "{what}可能读错了（{why}），没有使用：请重新扫描；= 替换原来的，- 不要这一个",
    "{what} was probably misread ({why}), and was not used: scan it again; = it replaces the first, - drop it",
)
FIRST_ANSWER = Bilingual("没有使用，请先回答：{question}", "not used, first answer: {question}")
MISREAD_AGAIN = Bilingual(
    "{what}读错了（{why}），没有使用；前面读对的仍然有效",
    "{what} was misread ({why}), and was not used; the one before stays",
)
SAME_AS_PERSON = Bilingual(
    "第 {n} 人已有这个{what}，没有使用", "person {n} has this {what} already, and it was not used"
)
ONE_AT_A_TIME = Bilingual("这一行没有使用，请一项一行：{why}", "the line was not used, enter one item a line: {why}")
TWO_NUMBERS = Bilingual(
    "一行里有两个号码，没有使用：请一次扫描一个", "two numbers in one line, and not used: scan one at a time"
)
NUMBER_AMONG_TEXT = Bilingual(
    "没看懂，没有使用：除了号码还有别的内容，请只输入号码",
    "not recognised, and not used: there is more than a number, enter the number alone",
)
NOT_A_RESIDENT = Bilingual(
    "像身份证号，但{why}，没有使用：请重新扫描；证件上确实如此就写 身份证 …",
    "like an identity number, but {why}, and not used: scan again; if the card really says so: id …",
)
WITHOUT_DIGIT = Bilingual(
    "{what}号码没有数字，没有使用：请写号码；没有车牌就写 车辆",
    "a number of a {what} has a digit, and this was not used: enter the number, or v for a vehicle without a plate",
)
RESIDENT_LENGTH = Bilingual(
    "身份证号应为 18 位（旧号 15 位），没有使用：请重新扫描",
    "an identity number has 18 characters (old ones 15), and this was not used: scan again",
)
WITHOUT_STATE = Bilingual(
    "护照没有使用：请写签发国和号码，如证件机读区，例如 护照 CHN/…",
    "the passport was not used: give state and number as in the machine-readable zone, such as passport CHN/…",
)
TWO_READINGS = Bilingual(
    "可能是中国号码，也可能是外国号码，没有使用：请连写十一位，或写 + 和国家代码",
    "a Chinese number or one of another country, and not used: write its eleven digits together, or + and the country code",
)
PLATE_OR_PASSPORT = Bilingual(
    "可能是车牌，也可能是证件，没有使用：请写 车牌 … 或 护照 CHN/…",
    "a plate or a document, and not used: begin with plate … or passport CHN/…",
)
OTHER_KIND = Bilingual(
    "写的是{what}，内容却像{other}，没有使用：请核对",
    "it says {what} but looks like {other}, and was not used: check it",
)
NOT_A_TEMPERATURE = Bilingual(
    "不是体温，没有使用：请输入 °C，例如 36.5", "not a temperature, and not used: enter °C, such as 36.5"
)
FIRST_TEMPERATURE_MISSING = Bilingual(
    "还没有第一次体温，没有使用：请先输入 体温 …",
    "the first temperature is missing, and this was not used: enter temp … first",
)
NO_SUCH_PLACE = Bilingual(
    "没有这个地方，没有使用：请写省、市、区的名称，六位代码，或国家",
    "no such place, and not used: give a province or country, the Chinese name of a city or district, or a six-digit code",
)
WHICH_PLACE = Bilingual("是哪个地方？没有使用：{places}", "which place? not used: {places}")
WHICH_COLOUR = Bilingual(
    "二维码里没有写明颜色，没有使用：请看手机，输入 绿码、黄码 或 红码",
    "the scanned code states no colour, and was not used: look at the phone and enter green, yellow or red",
)
CODE_MAY_BE_EXPIRED = Bilingual(
    "二维码可能已过期，没有使用：请看手机上现在的颜色，输入 绿码、黄码 或 红码",
    "the scanned code may be expired, and was not used: look at the colour on the phone now, and enter green, yellow or red",
)
NOT_A_COLOUR = Bilingual("请输入 绿码、黄码 或 红码；没有使用", "enter green, yellow or red; this was not used")
NO_NAMES = Bilingual("不录入姓名，没有使用", "names are not recorded, and this was not used")
ZONE_LENGTH = Bilingual(
    "像证件机读区，但字符数不对，没有使用：请重新扫描整个证件",
    "like a line of a travel document, but with a wrong number of characters, and not used: scan the whole document again",
)
NOT_THE_FIRST_LINE = Bilingual(
    "这不是证件的第一行，没有使用：请重新扫描整个证件",
    "this is not the first line of a travel document, and it was not used: scan the whole document again",
)
LINE_MISSING = Bilingual(
    "旅行证件缺一行：请重新扫描整个证件，或 - 撤回",
    "a line of the travel document is missing: scan the whole document again, or - takes it back",
)
NOT_THIS_DOCUMENT = Bilingual(
    "这不是同一证件的一行，没有使用：请重新扫描整个证件，或 - 撤回",
    "this is not a line of the travel document, and it was not used: scan the whole document again, or - takes it back",
)
PERSON_IS_EMPTY = Bilingual(
    "第 {n} 人还没有内容：请输入；没有证件就写 无证件；- 撤回",
    "person {n} has nothing yet: enter something, or: no document; - takes the person back",
)
PEOPLE_FULL = Bilingual("一次通行最多 80 人", "a passage has at most 80 people")
STILL_A_VEHICLE = Bilingual(
    "有车牌或有几个人，是车辆；没有使用", "with a plate or several people it is a vehicle; this was not used"
)
HAS_DOCUMENT = Bilingual("这个人已有证件，没有使用", "this person has a document, and this was not used")
ENTER_AGAIN = Bilingual(
    "上一行没有使用：请更正；再按一次回车就不要那一行，照样发送",
    "the last line was not used: correct it, or press Enter again to send the passage without it",
)
NOTHING_ENTERED = Bilingual("还没有内容（? 帮助）", "nothing entered yet (? for help)")
LINE_TOO_LONG = Bilingual("这一行太长，没有使用", "the line is too long, and was not used")

# -- the passage -------------------------------------------------------------------------------------------------------
ACCEPTED = Bilingual("已接受", "accepted")
NOT_SENT = Bilingual("最后一次通行没有发送：以空行结束", "the last passage was not sent: end it with an empty line")
NOT_ACCEPTED = Bilingual("未接受：{why}", "NOT ACCEPTED: {why}")
TRY_AGAIN = Bilingual("空行再试一次，u 清空", "an empty line tries again, u clears the passage")
WAITING = Bilingual("{waiting}/{capacity} 条等待发送到 Kafka", "{waiting} of {capacity} events wait for Kafka")

OUTCOMES: dict[Outcome | str, Bilingual] = {
    "clear": Bilingual("放行", "CLEAR"),
    "refer": Bilingual("转诊", "REFER"),
    "quarantine": Bilingual("隔离", "QUARANTINE"),
    "turn_back": Bilingual("劝返", "TURN BACK"),
    "hold": Bilingual("等待复核", "HOLD"),
    "order_ended": Bilingual("应急令已终止", "ORDER ENDED"),
    "not_checked": Bilingual("未核验", "NOT CHECKED"),
}

HELP_HINT = Bilingual("? 帮助", "? for help")
HELP_INTRODUCTION = Bilingual(
    "每行扫描或输入一项，回车或 Tab 结束；空行发送这次通行。每行都有回答，! 表示没有使用。",
    "Scan or type one item a line, ended by Enter or Tab. An empty line sends the passage. Each line is answered; ! means not used.",
)
HELP_ITEMS: list[tuple[str, Bilingual]] = [
    ("1101…  身份证 …", Bilingual("身份证、居住证", "identity card, residence permit: id …")),
    ("P<UTO…", Bilingual("护照的机读区", "machine-readable zone of a passport")),
    ("护照 CHN/…", Bilingual("签发国/号码", "passport CHN/…")),
    ("鲁A…  车牌 …", Bilingual("车牌", "plate …")),
    ("138…  电话 …", Bilingual("电话", "phone …")),
    ("通行证 …", Bilingual("健康通行证", "pass …")),
    ("36.5  体温 36.5", Bilingual("体温，第二次是复测", "temp 36.5; a second one confirms")),
    ("绿码  黄码  红码", Bilingual("健康码，也可扫描", "green, yellow, red; or scan it")),
    ("来自 湖北", Bilingual("地名、代码或国家", "from Hubei, from 420000, from US")),
    ("无证件", Bilingual("这个人没有证件", "no document")),
    ("车辆", Bilingual("没有车牌的车", "v: a vehicle without a plate")),
    ("进  出", Bilingual("方向", "in, out")),
    ("+", Bilingual("下一人", "next person")),
    ("-", Bilingual("撤回上一行", "takes the last line back")),
    ("=", Bilingual("替换（回答提问）", "replaces, as an answer to a question")),
    ("u", Bilingual("清空这次通行", "clears this passage")),
    ("?", Bilingual("帮助", "this help")),
    ("q", Bilingual("退出", "quits")),
]  # fmt: skip
"""What can be entered, and what it means."""
