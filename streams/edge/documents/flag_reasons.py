"""The words of each quality flag in Chinese and English, for those who can scan again."""

from ninezero.schemas.events import QualityFlag
from ninezero.streams.edge.bilingual import Bilingual

REASONS: dict[QualityFlag, Bilingual] = {
    "empty": Bilingual("没有内容", "empty"),
    "bad_character": Bilingual("有不允许的字符", "a character that is not allowed"),
    "bad_length": Bilingual("位数不对", "wrong number of characters"),
    "checksum_failed": Bilingual("校验码不符", "check character is wrong"),
    "bad_date": Bilingual("日期不存在", "a date that does not exist"),
    "birth_in_future": Bilingual("出生日期在将来", "birth date is in the future"),
    "unknown_division": Bilingual("地区代码不在表中", "unknown division code"),
    "fifteen_digit": Bilingual("15 位旧号码", "old number of 15 digits"),
    "mrz_number_failed": Bilingual("机读区证件号校验不符", "document number was misread"),
    "mrz_birth_failed": Bilingual("机读区出生日期校验不符", "birth date was misread"),
    "mrz_expiry_failed": Bilingual("机读区有效期校验不符", "expiry date was misread"),
    "mrz_optional_failed": Bilingual("机读区附加数据校验不符", "optional data was misread"),
    "mrz_composite_failed": Bilingual("机读区总校验不符", "the machine-readable zone was misread"),
    "mrz_format": Bilingual("不是完整的机读区", "not a complete machine-readable zone"),
    "document_expired": Bilingual("证件已过期", "document has expired"),
    "no_issuing_state": Bilingual("缺少签发国代码", "no issuing state"),
    "phone_invalid": Bilingual("电话号码无效", "not a valid phone number"),
    "plate_unrecognised": Bilingual("号牌格式不认识", "not a known form of plate"),
}
"""The reason of each flag of the closed list. It follows *scan again:* and quotes no value."""
