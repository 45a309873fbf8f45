"""The headers that are recognised without a mapping, in Chinese and English."""

import re
import unicodedata

from ninezero.streams.edge.listfiles.tables.cells import Cell

_HEADERS: dict[str, str] = {
    "id": "身份证 身份证号 身份证号码 居民身份证号 居民身份证号码 居民身份证 公民身份号码 公民身份证号 公民身份证号码 身份号码 本人身份证号 本人身份证号码 id idno idnumber idcard idcardno idcardnumber"
    " identitynumber identitycardnumber nationalid residentid residentidnumber",
    "passport": "护照 护照号 护照号码 passport passportno passportnumber",
    "state": "签发国 签发国家 发证国 发证国家 签发国代码 发证国代码 签发国别 签发国或地区 签发国地区 签发国家地区 签发国家或地区 发证国家地区 护照签发国 护照签发国家"
    " 护照发证国 证件签发国 证件签发国家 签发国家代码 issuingstate issuingcountry issuingstatecode issuingcountrycode countryofissue stateofissue"
    " passportstate passportcountry passportissuingcountry passportissuingstate state",
    "nationality": "国籍 国籍代码 国籍国家 国籍地区 国籍或地区 国籍国别 国别 国家地区 国家或地区 国籍及地区 人员国籍 nationality nationalitycode citizenship"
    " countryofcitizenship countryofnationality",
    "document": "证件号 证件号码 证件编号 身份证件号 身份证件号码 有效证件号 有效证件号码 有效身份证件号码 本人证件号码 证照号码 证件证号 documentno documentnumber docno"
    " docnumber iddocumentno iddocumentnumber identitydocumentno identitydocumentnumber certificateno certificatenumber traveldocumentno"
    " traveldocumentnumber",
    "document_type": "证件类型 证件种类 证件类别 证件名称 身份证件类型 身份证件种类 身份证件类别 有效证件类型 有效证件种类 有效身份证件类型 本人证件类型 证照类型 证件类型名称"
    " documenttype doctype iddocumenttype identitydocumenttype idtype typeofid typeofdocument certificatetype traveldocumenttype cardtype",
    "phone": "手机 手机号 手机号码 电话 电话号码 联系电话 联系方式 移动电话 本人电话 本人手机号 联系手机 联系电话号码 phone phoneno"
    " phonenumber mobile mobileno mobilenumber mobilephone telephone tel",
    "plate": "车牌 车牌号 车牌号码 号牌 号牌号码 车辆号牌 车辆号牌号码 机动车号牌 机动车号牌号码 车号 plate plateno platenumber"
    " licenseplate licenceplate vehicleplate",
    "pass": "通行证 通行证号 通行证号码 通行证编号 健康通行证 健康通行证号 健康通行证号码 健康通行证编号 健康证明编号 pass passno"
    " passnumber healthpass healthpassno healthpassnumber",
    "valid_from": "起始 起始日期 起始时间 开始 开始日期 开始时间 生效 生效日期 生效时间 有效期起 有效期自 隔离开始 隔离开始日期"
    " 隔离开始时间 隔离起始日期 隔离起始时间 开始隔离日期 开始隔离时间 医学观察开始日期 医学观察起始日期 起始日 开始日 隔离期起 隔离期开始 隔离期间起 隔离时间起 隔离日期起 隔离起 起 隔离时间开始 隔离日期开始"
    " 管控开始日期 医学观察开始时间 医学观察期起 观察期起 有效期开始 validfrom startdate starttime start",
    "valid_to": "截止 截止日期 截止时间 截至 截至日期 截至时间 到期 到期日期 到期时间 到期日 结束 结束日期 结束时间 有效期止 有效期至 失效日期"
    " 失效时间 终止日期 隔离截止 隔离截止日期 隔离结束 隔离结束日期 隔离结束时间 解除 解除日期 解除时间 解除隔离 解除隔离日期"
    " 解除隔离时间 拟解除日期 拟解除时间 拟解除隔离日期 拟解除隔离时间 预计解除日期 预计解除时间 预计解除隔离日期 隔离到期日期 隔离期满日期"
    " 隔离截止时间 隔离到期时间 隔离终止日期 隔离终止时间 终止时间 隔离期止 隔离期结束 隔离期截止 隔离期间止 隔离时间止 隔离日期止 隔离止 止 隔离时间截止 隔离时间结束 隔离日期结束"
    " 有效期截止 有效截止日期 有效截止时间 有效期结束 管控截止日期 管控结束日期 医学观察截止时间 医学观察结束时间 医学观察期止 观察期止"
    " 医学观察结束日期 医学观察截止日期 解除医学观察日期 截止日 validto validuntil enddate endtime end expiry expirydate expires until",
}
_FIELD_OF = {header: field for field, headers in _HEADERS.items() for header in headers.split()}
# Remarks that a form makes about its own column. Other words in brackets can make the column another person's: 身份证号(监护人) is
# the number of a guardian.
_REMARK = re.compile(
    r"\((?:必填项?|选填|可选|如有|\*|本人|(?:本人)?手机号?码?|(?:15|18|11|15位?或18)位数?字?|文本(?:格式)?|格式.{0,20}|含(?:当日|当天|本日)|[ymdhs年月日时分秒:/. -]{4,25}|required|optional)\)"
)
_PART = re.compile(r"[/／\n()（）]")
_MAX_HEADER_CHARACTERS = 64


def field_of(header: Cell) -> str | None:
    """Returns the field that a header names, or None if it is not known.

    A header of several parts is known if every part names the same field, as in two languages or in 手机/电话.
    """
    field = _FIELD_OF.get(normalise_header(header))
    if field is None and isinstance(header, str) and len(header) <= _MAX_HEADER_CHARACTERS:
        parts = {_FIELD_OF.get(normalise_header(part)) for part in _PART.split(header) if normalise_header(part)}
        field = parts.pop() if len(parts) == 1 else None
    return field


def normalise_header(cell: Cell) -> str:
    """Returns a header without case, blanks, punctuation and remarks; an empty string if the cell cannot be a header."""
    if not isinstance(cell, str) or len(cell) > _MAX_HEADER_CHARACTERS:
        return ""
    text = unicodedata.normalize("NFKC", cell).casefold()
    return "".join(character for character in _REMARK.sub("", text) if character.isalnum())
