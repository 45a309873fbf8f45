"""Every text of `ninezero push`, each once and in both languages. None quotes a cell, a header or the name of a file."""

from ninezero.schemas.events import IDENTIFIER_FORM
from ninezero.streams.edge.bilingual import Bilingual

FIELDS: dict[str, Bilingual] = {
    "id": Bilingual("身份证号", "resident identity number"),
    "passport": Bilingual("护照号", "passport number"),
    "state": Bilingual("护照签发国", "issuing state of the passport"),
    "nationality": Bilingual("国籍", "nationality"),
    "phone": Bilingual("电话", "phone number"),
    "plate": Bilingual("车牌", "plate"),
    "pass": Bilingual("健康通行证号", "number of a health pass"),
    "document": Bilingual("证件号码（各种证件）", "number of any document"),
    "document_type": Bilingual("证件类型", "type of the document"),
    "valid_from": Bilingual("开始日期", "start date"),
    "valid_to": Bilingual("截止日期", "end date"),
}
CATEGORIES: dict[str, Bilingual] = {
    "confirmed_case": Bilingual("确诊病例", "confirmed case"),
    "suspected_case": Bilingual("疑似病例", "suspected case"),
    "close_contact": Bilingual("密切接触者", "close contact"),
    "risk_region_arrival": Bilingual("风险地区来人", "arrival from a risk region"),
    "quarantine_order": Bilingual("隔离令", "quarantine order"),
    "health_pass": Bilingual("健康通行证", "health pass"),
}
MODES = {
    "delta": Bilingual("添加或续期", "add or renew people"),
    "full": Bilingual("用文件替换整个名单", "replace the whole list by the files"),
    "withdraw": Bilingual("从名单上撤下", "take people off the list"),
}
REASONS = {
    "expired": Bilingual("已到期", "the reason to be listed has ended"),
    "cleared": Bilingual("已排除", "the people are cleared"),
    "mistake": Bilingual("列错了（72 小时内的警报会更正）", "a mistake (alerts of the last 72 hours are corrected)"),
}
HIDDEN = {"include": Bilingual("读取", "read them"), "skip": Bilingual("略过", "leave them out")}

OPTIONS: dict[str, Bilingual] = {
    "authority": Bilingual("推送的卫生机构", "health authority that pushes"),
    "list": Bilingual("名单名称", "name of the list"),
    "category": Bilingual("列入名单的原因", "reason for the list"),
    "by": Bilingual("推送的人", "person who pushes"),
    "basis": Bilingual("法律依据", "legal basis"),
}
"""The options that a push needs, in the order of the questions."""
EXAMPLES = {
    "authority": "cdc-jiyang",
    "list": "contacts",
    "by": "wang",
    "basis": "JY-2026-1-A3",
    "batch-id": "contacts-7",
}
IDENTIFIER = Bilingual(
    "只能用字母 A–Z、a–z、数字、“.”、“_”、“-”，最多 64 个，以字母或数字开头，不能有连续 11 个数字（不用汉字：写拼音或代号）",
    f"use {IDENTIFIER_FORM} (no Chinese characters: write pinyin or a code)",
)

# -- wrong command lines -----------------------------------------------------------------------------------------------
MISSING = Bilingual(
    "缺少 {options}：请写全；在终端里运行时会逐项询问",
    "missing: {options}: give all of them; on a terminal the command asks for them",
)
WRONG_IDENTIFIER = Bilingual(
    "--{option} 不能这样写：{form}，例如 {example}", "--{option} is wrong: {form}, such as {example}"
)
ONE_OF = Bilingual("--{option} 要写其中之一：{values}", "--{option} must be one of {values}")
TOO_MANY_DAYS = Bilingual(
    "--days 最多 {longest}：除健康通行证外，名单上的每一行最多有效 28 天，到期前再推送一次",
    "--days is at most {longest}: a line that is no health pass is valid for 28 days at most, so push it again before it ends",
)
NO_FILES = Bilingual(
    "请写明要推送的文件，或 --confirm 批次：见 ninezero push --help",
    "name the files to push, or --confirm BATCH_ID: see ninezero push --help",
)
ALONE = Bilingual(
    "--confirm 和 --result 各自单独使用：不要写文件、--check，也不要两个一起写",
    "--confirm and --result go with no files, not with --check, and not with each other",
)
FULL_AND_WITHDRAW = Bilingual("--full 和 --withdraw 不能同时用", "--full and --withdraw exclude each other")
WITHDRAW_REASON = Bilingual(
    "--withdraw 和 --reason（{values}）要一起用", "--withdraw and --reason ({values}) go together"
)
MAP_AND_MAPPING = Bilingual("--map 和 --mapping 不能同时用", "--map and --mapping exclude each other")
MAP_FORM = Bilingual("--map 要写成 项目=列，项目有 {fields}", "--map is FIELD=COLUMN: the fields are {fields}")
VALID_FROM = Bilingual(
    "--valid-from 不是时间：请写如 2026-02-01T00:00:00+08:00",
    "--valid-from is not a time: give RFC 3339 with an offset, such as 2026-02-01T00:00:00+08:00",
)

# -- questions ---------------------------------------------------------------------------------------------------------
ASK_FILE = Bilingual("文件（CSV 或 .xlsx）", "File (CSV or .xlsx)")
NO_SUCH_FILE = Bilingual("没有这个文件", "there is no such file")
ASK_IDENTIFIER = Bilingual("{what}（例如 {example}）", "{what}, such as {example}")
ASK_MODE = Bilingual("要做什么", "What is to be done")
ASK_REASON = Bilingual("撤下的原因", "Reason for the withdrawal")
ASK_HIDDEN = Bilingual("隐藏的行和列", "Hidden rows and columns")
ASK_SHEET = Bilingual("工作表的名称或序号", "Name or number of the sheet")
ASK_COLUMNS = Bilingual(
    "每一项在哪一列？写列的字母（如 C）或表头；没有就直接回车",
    "In which column is each? Write its letters (such as C) or its header; Enter if there is none",
)
NO_IDENTITY_COLUMN = Bilingual(
    "至少要有一列身份证号、护照号、证件号码、电话、车牌或通行证号",
    "at least one column has to hold identity numbers, passports, documents, phones, plates or passes",
)
ASK_DAYS = Bilingual(
    "{lines:,} 行没有确定的截止日期。没有写截止日期的行有效几天（1–{longest}，例如 14；直接回车：退回这些行）",
    "Lines without a certain end: {lines:,}. For how many days is a line valid that states none (1 to {longest:,}, such as 14; Enter:"
    " they are rejected)",
)
ASK_DAYS_AGAIN = Bilingual("请写 1 到 {longest} 的整数", "write a whole number from 1 to {longest:,}")
ASK_NUMBER = Bilingual("写前面的数字", "write the number in front")
ASK_SEND = Bilingual("发送？", "Send this?")
ASK_CONFIRM = Bilingual("确认这个批次？", "Confirm this batch?")
ASK_CATEGORY = Bilingual("仍然改变这些人的类别？", "Change the category of these people nevertheless?")
ASK_AGAIN = Bilingual("仍然作为新的批次发送？", "Send it as a new batch nevertheless?")
YES_OR_NO = Bilingual("[是 y / 否 n]", "[y/n]")
NOTHING_SENT = Bilingual("没有发送任何内容", "nothing was sent")

# -- what is understood ------------------------------------------------------------------------------------------------
FILE = Bilingual("文件 {number}：{what}", "file {number}: {what}")
DAYS_FOR_EVERY_ROW = Bilingual(
    "没有认出截止日期的列，每一行都用 --days", "no column of ends is recognised, so --days counts for every row"
)
LINES = Bilingual("{lines:,} 行：{good:,} 行正常{counts}", "{lines:,} line{s}: {good:,} good{counts}")
BATCH = Bilingual(
    "{mode}：机构 {authority}，名单 {list}，{category}；推送人 {by}，依据 {basis}",
    "{mode}: authority {authority}, list {list}, {category}; by {by}, basis {basis}",
)
WITH_REASON = Bilingual("{mode}（{reason}）", "{mode} ({reason})")
PLACE = Bilingual("文件 {file} 第 {rows} 行", "file {file} row{s} {rows}")
MORE_ROWS = Bilingual(" 等 {count:,}", " and {count:,} more")
ROW_REJECTED = Bilingual("{place}：退回（{code}）：{meaning}", "{place}: rejected ({code}): {meaning}")
ROW_SENT = Bilingual("{place}：已发送，请核对（{code}）：{meaning}", "{place}: sent, to be checked ({code}): {meaning}")
ROW_CHECK = Bilingual(
    "{place}：会发送，请核对（{code}）：{meaning}", "{place}: will be sent, to be checked ({code}): {meaning}"
)
NEXT = Bilingual("    → {remedy}", "    → {remedy}")
CORRECT = Bilingual(
    "更正文件后再推送一次即可：没有改动的行不会重复计算",
    "correct the file and push it again: lines that did not change are not counted twice",
)
REJECTS_FILE = Bilingual(
    "{count:,} 行被退回或需要核对：见退回文件 {path}", "{count:,} line{s} with findings: see the rejects file {path}"
)
SENDING = Bilingual("发送批次 {batch}，序号 {sequence}{parts}", "sending as batch {batch}, sequence {sequence}{parts}")
PARTS = Bilingual("，分 {parts:,} 部分", ", in {parts:,} parts")
NEXT_TIME = Bilingual("下次可直接运行：{command}", "next time, as one command: {command}")

# -- results -----------------------------------------------------------------------------------------------------------
APPLIED = Bilingual(
    "已生效：新增或更新 {accepted:,}，重复 {duplicate:,}，退回 {rejected:,}，撤下 {withdrawn:,}{leaving}",
    "applied: {accepted:,} accepted, {duplicate:,} duplicate, {rejected:,} rejected, {withdrawn:,} withdrawn{leaving}",
)
LEAVING = Bilingual(
    "；名单 {listed:,} 条中 {leaving:,} 条离开名单", "; {leaving:,} of {listed:,} entries leave the list"
)
WOULD_LEAVE = Bilingual(
    "；名单 {listed:,} 条中 {leaving:,} 条将离开名单", "; {leaving:,} of {listed:,} entries would leave the list"
)
HELD = Bilingual(
    "暂缓（{code}）：{meaning}{leaving}；名单没有变。{remedy}：{command}",
    "held ({code}): {meaning}{leaving}; the list stays as it was. {remedy}: {command}",
)
REJECTED = Bilingual(
    "未接受（{code}）：{meaning}{last}；名单没有变。{remedy}：{command}",
    "rejected ({code}): {meaning}{last}; the list stays as it was. {remedy}: {command}",
)
LAST_SEQUENCE = Bilingual("（名单现在的序号是 {sequence}）", " (the last one applied is {sequence})")
NOT_CONFIRMED = Bilingual("没有确认：{meaning}。{remedy}：{command}", "not confirmed: {meaning}. {remedy}: {command}")
OTHER_CATEGORY = Bilingual(
    "名单 {list} 上一次推送的类别是“{known}”，这次是“{given}”：请更正 --category，或写另一个 --list",
    "the last batch of list {list} had the category {known}, and this one has {given}: correct --category, or name another --list",
)
SENT_BEFORE = Bilingual(
    "这些文件已作为批次 {batch} 发送过（{at}，推送人 {by}），之后名单没有变；没有再发送。要作为新的批次发送：加 --again",
    "these files were sent before as batch {batch} ({at}, by {by}), and the list has not changed since: nothing is sent. To send them"
    " as a new batch nevertheless: --again",
)
SENT_YESTERDAY = Bilingual(
    "这些文件昨天已作为批次 {batch} 发送过（{at}，推送人 {by}）。今天是另一个批次：--days 从今天起算，没有写截止时间的行晚一天到期",
    "these files were sent yesterday as batch {batch} ({at}, by {by}). Today they are another batch: --days counts from today, so rows without"
    " an end of their own end a day later",
)
HELD_BATCH = Bilingual(
    "批次 {batch}：机构 {authority}，名单 {list}，{category}，{mode}，{lines:,} 行，推送人 {by}",
    "batch {batch}: authority {authority}, list {list}, {category}, {mode}, {lines:,} lines, by {by}",
)
HELD_FOR = Bilingual("{code}：{meaning}{leaving}", "{code}: {meaning}{leaving}")
CONFIRMED_BY = Bilingual("{batch}：由 {by} 确认，{at}", "{batch}: confirmed by {by}, {at}")
PUSHED_BY = Bilingual("{batch}：由 {by} 推送，{at}", "{batch}: pushed by {by}, {at}")
INTERRUPTED = Bilingual(
    "已中断：批次 {batch} 可能已发送。再运行同一条命令会接着做并显示结果（过了午夜请加 --batch-id {batch}）；查看结果：ninezero push"
    " --result {batch}",
    "interrupted: batch {batch} may have been sent. The same command continues with it and shows its receipt (after midnight add --batch-id"
    " {batch}); to see it: ninezero push --result {batch}",
)
NO_RECEIPT = Bilingual(
    "没有批次 {batch} 的回执：请核对批次号；也可能还没有处理，或已超过七天：再运行一次原来的推送命令即可",
    "there is no receipt of batch {batch}: check its id; if it is right, the batch is not processed yet or over seven days old: give the"
    " push command again",
)
NO_RECEIPT_YET = Bilingual(
    "Kafka 已收到批次 {batch}，但还没有回执：请运维人员检查 ninezero worker lists，再运行同一条命令（不会重复生效；过了午夜请加 --batch-id"
    " {batch}）",
    "Kafka has the batch {batch}, but there is no receipt yet: ask the operators to check `ninezero worker lists`, then give the same"
    " command again: a batch is applied once, however often it is sent (after midnight add --batch-id {batch})",
)
NO_ACKNOWLEDGEMENT = Bilingual(
    "Kafka 没有确认收到批次（{error}）：再运行同一条命令，批次只生效一次（过了午夜请加 --batch-id {batch}）",
    "Kafka did not acknowledge the batch ({error}): give the same command again, a batch is applied once (after midnight add --batch-id {batch})",
)
NOT_FOUND = Bilingual(
    "没有这个批次的回执：请核对批次号，回执保留七天",
    "there is no receipt of such a batch: check its id, receipts are kept for seven days",
)
SEVERAL_AUTHORITIES = Bilingual(
    "几个机构都有这个批次号：用 --authority 写明机构",
    "several authorities have pushed a batch of that id: name one with --authority",
)
NO_RECEIPTS_TOPIC = Bilingual(
    "不能读取回执：主题不存在，或你的用户没有权限，请告诉运维人员（ninezero topics create，ninezero topics acls）",
    "the topic of the receipts is missing, or this user may not read it: ninezero topics create, ninezero topics acls",
)
