"""Every code of a push, what it means and what to do, each once and in both languages.

The command, the rejects file and `docs/reference/push-codes.md` show these texts. None quotes a cell.
"""

from typing import NamedTuple

from ninezero.schemas.events import BatchCode, ConfirmationCode, LineCode
from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.documents.flag_reasons import REASONS


class Explanation(NamedTuple):
    """The meaning of a code, what to do, and a command to copy if one continues from there."""

    meaning: Bilingual
    remedy: Bilingual
    command: str = ""
    """`{batch}` stands for the batch_id, FILE for the clerk's files, and WHO for a person."""


_COMPARE = Bilingual("对照证件核对，不一致就更正", "compare it with the document, and correct it if it differs")
_AGAIN = "ninezero push FILE …"
_CONFIRM = "ninezero push --confirm {batch} --by WHO"

LINE_CODES: dict[LineCode, Explanation] = {
    "no_token": Explanation(
        Bilingual("这一行没有可用的身份号码", "no identity in the row can be used"),
        Bilingual("填写号码；标题行或合计行可以不管", "give an identity in the row, or leave the row if it is a title or a total"),
    ),
    "bad_token": Explanation(
        Bilingual("代号格式不对", "a token is malformed"),
        Bilingual("请更正生成代号的程序", "correct the program that made the tokens"),
    ),
    "no_window": Explanation(
        Bilingual("缺少截止日期，或日期不能确定", "the end is missing, or a date is not certain"),
        Bilingual(
            "按年-月-日填写日期；不知道截止日期就加 --days 天数",
            "write the date as year-month-day, or give --days if no end is known",
        ),
        "ninezero push FILE … --days 14",
    ),
    "bad_window": Explanation(
        Bilingual(
            "开始不早于截止，或与同一人前面的行之间有空档",
            "the start is not before the end, or the window leaves a gap to that of an earlier row of the same entry",
        ),
        Bilingual("请更正日期", "correct the dates"),
    ),
    "expired": Explanation(
        Bilingual("截止日期已过", "the end has passed"),
        Bilingual("请更正日期；确实已到期就不用管", "correct the date, or leave it if the entry is over"),
    ),
    "term_too_long": Explanation(
        Bilingual("期限超过 28 天", "the window is longer than 28 days"),
        Bilingual("填写较早的截止日期，到期前再推送一次", "give an earlier end, and renew the entry later"),
    ),
    "not_listed": Explanation(
        Bilingual("名单上没有这个人", "the list has no such entry"),
        Bilingual("核对号码和名单名称；也可能已经到期", "check the number and the list: the entry may have ended"),
    ),
}  # fmt: skip
"""Why a line is rejected."""

SAME_ENTRY = Explanation(
    Bilingual("与前面的一行是同一个人", "the same entry as an earlier row"),
    Bilingual(
        "这些行合为一条，从最早的开始到最晚的截止；有空档或合起来太长的行被退回",
        "the rows are one entry, from the earliest start to the latest end: a row that leaves a gap or makes it too long is rejected",
    ),
)

_REMEDIES_OF_FLAGS: dict[str, Bilingual] = {
    "empty": Bilingual("请更正，或留空", "correct it, or leave it empty"),
    "bad_character": Bilingual("只写一个号码，不要写别的字", "write one number alone, without words"),
    "fifteen_digit": Bilingual(
        "是 1999 年以前的号码：如有 18 位号码请改用", "it is a number of before 1999: ask for the number of 18 digits, if there is one"
    ),
    "no_issuing_state": Bilingual(
        "填写护照的签发国：国名，或机读区的三字代码",
        "give the issuing state of the passport, by its name or by its code as in the machine-readable lines",
    ),
    "phone_invalid": Bilingual(
        "写一个完整的号码；外国号码前写 + 和国家代码",
        "write one number in full, with + and the country code if it is not Chinese",
    ),
    "plate_unrecognised": Bilingual(
        "对照车牌核对，省份写汉字", "compare it with the plate, and write its province as a Chinese character"
    ),
}  # fmt: skip

FINDINGS: dict[str, Explanation] = {
    "number_format": Explanation(
        Bilingual("单元格显示的内容与实际的值不同", "the cell shows something else than its value"),
        Bilingual(
            "把这一列设为文本格式（日期用年-月-日），写出要读取的内容",
            "format the column as text, or dates as year-month-day, and write the value as it should be read",
        ),
    ),
    "digits_lost": Explanation(
        Bilingual("表格软件改掉了号码的末几位", "a spreadsheet has rounded the number"),
        Bilingual(
            "先把这一列设为文本格式，再照原件重新输入号码",
            "format the column as text, and enter the number again from the original",
        ),
    ),
    "not_calculated": Explanation(
        Bilingual("公式没有结果", "a formula has no result"),
        Bilingual(
            "请用 Excel 或 WPS 打开文件并保存，再推送一次",
            "the file was saved without it: open the file in Excel or WPS, save it, and push it again",
        ),
    ),
    "note": Explanation(
        Bilingual("这一行当作合计、说明或重复的表头", "the row was read as a total, a note about the list or a header"),
        Bilingual("不用管；如果是人员，请去掉这些字", "leave it, or remove such words from it"),
    ),
    "midnight": Explanation(
        Bilingual(
            "截止是零点，不能确定是否包括当天", "the end is midnight, and it is not certain that its day is meant"
        ),
        Bilingual(
            "除非写明别的时区，已按包括当天读取：请只写日期，或写最后一天的 24:00",
            "it was read with its whole day, unless it states another zone: write a date alone, or 24:00 of the last day",
        ),
    ),
    "shifted": Explanation(
        Bilingual("这一行的单元格比表头多", "the row has more cells than the header"),
        Bilingual("检查每个值是否在它的列里", "check that each value is in its column"),
    ),
    "several_values": Explanation(
        Bilingual("一格里有几个号码，其中有的无效", "the cell holds several numbers, and not all of them are valid"),
        Bilingual("一格只写一个号码，或每个号码写一行", "write one number alone, or one row for each"),
    ),
    "resident_number": Explanation(
        Bilingual("这是身份证号码", "it is the number of an identity card"),
        Bilingual(
            "请填到身份证号一列，或更正证件类型",
            "put it into the column of resident numbers, or correct the document type",
        ),
    ),
    "unknown_type": Explanation(
        Bilingual("不认识这个证件类型", "the document type is not known"),
        Bilingual(
            "请写身份证、护照、港澳通行证、台胞证等；不写类型只读取身份证号",
            "write a document type such as 身份证, 护照, 港澳通行证, 台胞证 or passport: without one, only resident numbers are read",
        ),
    ),
    "state_from_nationality": Explanation(
        Bilingual("没有签发国，用了国籍", "the nationality was used as the issuing state"),
        Bilingual("请核对，另设一列填写签发国", "check it, and give the issuing state in a column of its own"),
    ),
    "two_readings": Explanation(
        Bilingual(
            "按中国号码读取，也可能是外国号码", "it was read as Chinese, and could be a number of another country"
        ),
        Bilingual("外国号码前写 + 和国家代码", "write + and the country code if it is not Chinese"),
    ),
    **{flag: Explanation(why, _REMEDIES_OF_FLAGS.get(flag, _COMPARE)) for flag, why in REASONS.items()},
}
"""What is to be checked about a cell or row, by the flag of the finding `field:flag`."""

BATCH_CODES: dict[BatchCode, Explanation] = {
    "count_mismatch": Explanation(
        Bilingual("行数与声明的不符", "it does not have the number of lines that it declares"),
        Bilingual("重新推送；清楚原因才由第二人确认", "push the files again, and confirm it only if you know why they differ"),
        _CONFIRM,
    ),
    "would_empty": Explanation(
        Bilingual("会清空整个名单", "it would empty the list"),
        Bilingual(
            "核对是否选对了文件；确实要清空，由第二人确认",
            "check that it is the right file; if the list is to end, a second person confirms it",
        ),
        _CONFIRM,
    ),
    "would_shrink": Explanation(
        Bilingual("会去掉名单的一大部分", "it would remove a large part of the list"),
        Bilingual(
            "核对文件是否完整；确实如此，由第二人确认",
            "check that the files are complete; if they are, a second person confirms it",
        ),
        _CONFIRM,
    ),
    "unknown_key_ids": Explanation(
        Bilingual(
            "其他名单都没有用这个密钥，本机的密钥文件可能不对",
            "no other list has tokens of its keys, so this machine may use a wrong key ring",
        ),
        Bilingual(
            "核对 NINEZERO_KEYS（ninezero keys list）；密钥正确，由第二人确认",
            "check NINEZERO_KEYS (ninezero keys list); if the ring is right, a second person confirms it",
        ),
        _CONFIRM,
    ),
    "no_legal_basis": Explanation(
        Bilingual("没有写明法律依据", "it names no legal basis"),
        Bilingual("用 --basis 写明", "give --basis"),
        "ninezero push FILE … --basis BASIS",
    ),
    "unknown_category": Explanation(
        Bilingual("类别不在六种之内", "its category is not one of the six"),
        Bilingual("更正 --category", "correct --category"),
        "ninezero push FILE … --category CATEGORY",
    ),
    "stale_sequence": Explanation(
        Bilingual("名单已有序号相同或更大的批次", "the list has had a batch of the same or a higher sequence"),
        Bilingual("不要写 --sequence，再推送一次", "leave --sequence out, and push the files again"),
        _AGAIN,
    ),
    "sequence_ahead": Explanation(
        Bilingual(
            "序号比服务器的时钟超前一天以上", "its sequence is more than a day ahead of the broker's clock"
        ),
        Bilingual(
            "核对本机的时钟；不要写 --sequence，再推送一次",
            "check the clock of this machine, leave --sequence out, and push the files again",
        ),
        _AGAIN,
    ),
    "incomplete": Explanation(
        Bilingual("24 小时内没有收齐各部分", "some of its parts did not arrive within 24 hours"),
        Bilingual("再推送一次，不要写同一个 --batch-id", "push the files again, without the same --batch-id"),
        _AGAIN,
    ),
    "needs_upgrade_finish": Explanation(
        Bilingual("系统正在升级", "the deployment is being upgraded, and its older workers could not read the entries"),
        Bilingual("等运维人员完成升级，再推送一次", "push the files again when its operators have finished the upgrade"),
        _AGAIN,
    ),
}  # fmt: skip
"""Why a batch is held or rejected. The list stays as it was."""

CONFIRMATION_CODES: dict[ConfirmationCode, Explanation] = {
    "same_person": Explanation(
        Bilingual("推送的人不能自己确认", "the person who pushed a batch cannot confirm it"),
        Bilingual("请另一个人确认", "a second person has to"),
        _CONFIRM,
    ),
    "overtaken": Explanation(
        Bilingual("之后名单已有更新的批次", "a later batch of the list was applied since"),
        Bilingual("请再推送一次文件", "push the files again"),
        _AGAIN,
    ),
    "not_held": Explanation(
        Bilingual("这个批次没有在等待确认", "the batch is not held"),
        Bilingual("查看它的结果，可能已由别人确认", "see its result: somebody else may have confirmed it"),
        "ninezero push --result {batch}",
    ),
    "gone": Explanation(
        Bilingual("批次已超过七天，内容已删除", "the batch is over seven days old, and its lines are deleted"),
        Bilingual("请再推送一次文件", "push the files again"),
        _AGAIN,
    ),
}
"""Why a confirmation changed nothing."""
