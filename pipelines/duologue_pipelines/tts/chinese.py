"""How Chinese reads what is written in digits and signs. Cardinals come from cn2an; what is local is a table here."""

import re
from collections.abc import Callable
from typing import Final

import cn2an

from duologue_pipelines.tts.spoken_spans import Rule, say

_DIGITS: Final = str.maketrans("0123456789", "零一二三四五六七八九")
_PHONE_DIGITS: Final = str.maketrans("0123456789", "零幺二三四五六七八九")
_DIGITS_MAX: Final = 16  # cn2an's own bound
_NUM: Final = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_HEAD: Final = r"(?<![A-Za-z0-9_.])"  # a number within a Latin word ("GPT-4", "B12") belongs to that word
_TAIL: Final = r"(?![A-Za-z0-9_])(?!\.\d)"

_CURRENCIES: Final = {
    "¥": "元", "￥": "元", "$": "美元", "€": "欧元", "£": "英镑", "HK$": "港元", "NT$": "新台币",
    "₩": "韩元", "RMB": "元", "CNY": "元", "USD": "美元", "EUR": "欧元", "GBP": "英镑", "JPY": "日元",
}  # fmt: skip
_UNITS: Final = {
    "km/h": "公里每小时", "m/s": "米每秒", "km²": "平方公里", "m²": "平方米", "㎡": "平方米", "m³": "立方米",
    "km": "公里", "cm": "厘米", "mm": "毫米", "m": "米", "kg": "公斤",
    "mg": "毫克", "g": "克", "ml": "毫升", "mL": "毫升",
    "L": "升", "℃": "摄氏度", "°C": "摄氏度", "°F": "华氏度", "℉": "华氏度", "°": "度", "kWh": "千瓦时",
    "kW": "千瓦",
    "W": "瓦", "GHz": "吉赫", "MHz": "兆赫", "Hz": "赫兹", "TB": "太字节", "GB": "吉字节", "MB": "兆字节",
    "KB": "千字节",
    "ms": "毫秒", "min": "分钟", "s": "秒", "h": "小时",
}  # fmt: skip
# Measure words before which two is 两. A set of characters in the pattern.
_MEASURES: Final = "个只本条张位杯瓶块辆台件种次名家间座棵朵双份天周年点层米公里公斤小时分钟秒倍百千万亿岁里碗头匹"
_SYMBOLS: Final = {
    "+": "加",
    "=": "等于",
    "×": "乘",
    "÷": "除以",
    "≈": "约等于",
    "<": "小于",
    ">": "大于",
    "≤": "小于等于",
    "≥": "大于等于",
}
_MAGNITUDES: Final = r"(?:\s?(?P<magnitude>百万|千万|万亿|万|亿|千|百))?"


def _options(table: dict[str, str]) -> str:
    return "|".join(map(re.escape, sorted(table, key=len, reverse=True)))


def cardinal(written: str) -> str:
    """A number as it is counted; "1,200.5" is 一千二百点五. Too long a number is read digit by digit."""
    whole, _, fraction = written.replace(",", "").partition(".")
    if len(whole) > _DIGITS_MAX or (len(whole) > 1 and whole.startswith("0")):
        spoken = whole.translate(_DIGITS)
    else:
        spoken = re.sub(r"^二(?=[千万亿])", "两", str(cn2an.an2cn(whole, "low")))
    return spoken + ("点" + fraction.translate(_DIGITS) if fraction else "")


def _counted(written: str) -> str:
    return "两" if written == "2" else cardinal(written)


def digits(written: str) -> str:
    """Digit by digit, other characters dropped."""
    return re.sub(r"\D", "", written).translate(_DIGITS)


def _date(match: re.Match[str]) -> str | None:
    year, month, day = match["year"], int(match["month"]), int(match["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{digits(year)}年{cardinal(str(month))}月{cardinal(str(day))}日"


def _time(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match["hour"]), int(match["minute"]), match["second"]
    if hour > 24 or minute > 59:
        return None
    spoken = ("两" if hour == 2 else cardinal(str(hour))) + "点"
    if minute or second:
        spoken += ("零" if 0 < minute < 10 else "") + cardinal(str(minute)) + "分"
    elif not second:
        spoken += "整"
    return spoken + (cardinal(str(int(second))) + "秒" if second else "")


def _phone(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match[0])
    return ("加" if match[0].startswith("+") else "") + ", ".join(group.translate(_PHONE_DIGITS) for group in groups)


def _money(match: re.Match[str]) -> str:
    sign = match["before"] or match["behind"]
    return _counted(match["n"]) + (match["magnitude"] or "") + _CURRENCIES[sign]


def _percent(match: re.Match[str]) -> str:
    return ("负" if match["minus"] else "") + "百分之" + cardinal(match["n"])


def _number(match: re.Match[str]) -> str:
    return ("负" if match["minus"] else "") + cardinal(match["n"])


def _rule(pattern: str, speak: Callable[[re.Match[str]], str | None]) -> Rule:
    return Rule(re.compile(pattern), speak)


CHINESE: Final = (
    # Signs first: once a number is settled, a rule no longer sees it as what follows.
    _rule(r"C\+\+", say("C加加")),
    _rule(r"(?<=\d)\+(?![\w(])", say("多")),
    _rule(rf"\s?(?P<sign>[{re.escape(''.join(_SYMBOLS))}])\s?(?=[\w(])", lambda m: _SYMBOLS[m["sign"]]),
    _rule(r"@(?=\w)", say("艾特")),
    _rule(rf"{_HEAD}(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}})(?!\d)", _date),
    _rule(r"(?<!\d)(?P<a>\d{4})\s?[-~–—～至]\s?(?=\d{4}年)", lambda m: digits(m["a"]) + "到"),
    _rule(r"(?<!\d)\d{4}(?=年)", lambda m: digits(m[0])),
    _rule(rf"{_HEAD}(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})(?::(?P<second>\d{{2}}))?(?!\d)", _time),
    _rule(r"(?<![\d.])(?:\+\d{1,3}[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)", _phone),
    _rule(r"(?<![\d.])(?:\+\d{1,3}[ -])?0\d{2,3}[ -]\d{7,8}(?!\d)", _phone),
    _rule(r"(?<![\d.])\+?\d{3}[ -]\d{3,4}[ -]\d{4}(?!\d)|(?<!\d)400[ -]?\d{3}[ -]?\d{4}(?!\d)", _phone),
    _rule(rf"(?P<before>{_options(_CURRENCIES)})\s?(?P<n>{_NUM}){_MAGNITUDES}(?P<behind>)", _money),
    _rule(rf"{_HEAD}(?P<n>{_NUM}){_MAGNITUDES}(?P<before>)\s?(?P<behind>{_options(_CURRENCIES)})", _money),
    _rule(rf"{_HEAD}(?P<minus>[-−])?(?P<n>{_NUM})\s?%", _percent),
    _rule(rf"{_HEAD}(?P<n>{_NUM})\s?‰", lambda m: "千分之" + cardinal(m["n"])),
    _rule(rf"{_HEAD}(?P<a>{_NUM})\s?[-~–—～]\s?(?=(?:{_NUM}))", lambda m: cardinal(m["a"]) + "到"),
    _rule(
        rf"(?<![A-Za-z0-9_.])(?P<minus>[-−])?(?P<n>{_NUM})\s?(?P<unit>{_options(_UNITS)})(?![A-Za-z0-9])",
        lambda m: ("负" if m["minus"] else "") + _counted(m["n"]) + _UNITS[m["unit"]],
    ),
    _rule(rf"{_HEAD}(?P<a>\d{{1,3}}):(?=\d{{1,3}}(?![\d:]))", lambda m: cardinal(m["a"]) + "比"),
    _rule(rf"{_HEAD}(?P<a>\d{{1,4}})/(?P<b>\d{{1,4}})(?![\d/])", lambda m: f"{cardinal(m['b'])}分之{cardinal(m['a'])}"),
    _rule(r"第\s?(?P<n>\d{1,8})(?![\d.])", lambda m: "第" + cardinal(m["n"])),
    _rule(r"(?<![\d.第A-Za-z_-])2(?=\s?[" + _MEASURES + "])", say("两")),
    _rule(rf"{_HEAD}\d+(?:\.\d+){{2,}}(?!\d)", lambda m: "点".join(cardinal(n) for n in m[0].split("."))),
    _rule(rf"(?P<minus>(?<![A-Za-z0-9)])[-−])?{_HEAD}(?<![A-Za-z]-)(?P<n>{_NUM}){_TAIL}", _number),
    _rule(r"\s?&\s?", say("和")),
)  # fmt: skip
