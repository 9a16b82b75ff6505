"""How English reads what is written in digits and signs. Cardinals, ordinals and years come from num2words.

The order of the rules is the precedence: a date before a fraction, a time before a ratio, a unit before a bare number.
Numbers inside a name ("GPT-4", "B12", "3D") are left to the engine, which reads them as people do.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from num2words import num2words

from duologue_pipelines.tts.english_words import (
    ABBREVIATIONS,
    CURRENCIES,
    MONTHS,
    SENTENCE_END,
    SYMBOLS,
    TITLES_AND_NAMES,
    UNITS,
    UNITS_SPOKEN_PER,
)
from duologue_pipelines.tts.spoken_spans import Rule

_DIGITS_MAX: Final = 15  # longer digit strings are no quantities
_DIGIT_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUM: Final = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_HEAD: Final = r"(?<![\w.,])"
_TAIL: Final = r"(?!\w)(?![.,]\d)"
_SENTENCE_ENDS: Final = re.compile(r"\s*(?:\Z|\n)|\s+[A-Z]")
_MAGNITUDES: Final = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion", "tn": "trillion"}
_FRACTIONS: Final = {
    "½": "one half", "⅓": "one third", "⅔": "two thirds", "¼": "one quarter", "¾": "three quarters", "⅛": "one eighth",
}  # fmt: skip
_SMALL: Final = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def cardinal(written: str) -> str:
    """A number in words: "1,200.5" is "one thousand two hundred point five". Too long ones are read by digits."""
    whole, _, fraction = written.replace(",", "").partition(".")
    if len(whole) > _DIGITS_MAX or (len(whole) > 1 and whole.startswith("0")):
        spoken = digits(whole)
    else:
        spoken = _plain(num2words(int(whole)))
    return f"{spoken} point {digits(fraction)}" if fraction else spoken


def digits(written: str) -> str:
    """Digit by digit; characters other than digits are dropped."""
    return " ".join(_DIGIT_WORDS[int(char)] for char in written if char in "0123456789")


def ordinal(number: int) -> str:
    """1 is "first"."""
    return _plain(num2words(number, to="ordinal"))


def year(number: int) -> str:
    """2024 is "twenty twenty four", 2005 "two thousand five"."""
    return _plain(num2words(number, to="year"))


def _plain(words: object) -> str:
    """num2words writes "one thousand, two hundred and thirty-four": the comma would make a pause."""
    return str(words).replace(",", "").replace("-", " ").replace(" and ", " ")


def _is_year(number: int) -> bool:
    return 1100 <= number <= 2099


def _spoken_date(year_text: str | None, month: int, day: int) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    spoken = f"{MONTHS[month - 1]} {ordinal(day)}"
    if year_text is None:
        return spoken
    number = int(year_text) + (2000 if len(year_text) == 2 else 0)
    return f"{spoken}, {year(number)}"


def _iso_date(match: re.Match[str]) -> str | None:
    return _spoken_date(match["year"], int(match["month"]), int(match["day"]))


def _slash_date(day_first: bool) -> Callable[[re.Match[str]], str | None]:
    def speak(match: re.Match[str]) -> str | None:
        first, second = int(match["a"]), int(match["b"])
        month, day = (second, first) if day_first else (first, second)
        if month > 12:
            month, day = day, month
        return _spoken_date(match["year"], month, day)

    return speak


def _month_index(name: str) -> int:
    return next(index for index, month in enumerate(MONTHS, 1) if month.lower().startswith(name.lower()[:3]))


def _named_date(match: re.Match[str]) -> str | None:
    return _spoken_date(match["year"], _month_index(match["name"]), int(match["day"]))


def _time(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match["hour"]), int(match["minute"] or 0), match["second"]
    half_day = (match["half"] or "").replace(".", "").replace(" ", "").lower()
    if hour > 24 or minute > 59 or (half_day and hour > 12) or (not half_day and match["minute"] is None):
        return None
    words = [cardinal(str(hour))]
    if minute:
        words.append(("oh " if minute < 10 else "") + cardinal(str(minute)))
    elif not half_day:
        words.append("hundred" if hour > 12 or hour == 0 else "o'clock")
    if second:
        words.append(f"and {cardinal(str(int(second)))} seconds")
    if half_day:
        ends = (match["half"] or "").endswith(".") and _SENTENCE_ENDS.match(match.string, match.end())
        words.append(" ".join(half_day.upper()) + ("." if ends else ""))
    return " ".join(words)


def _phone(match: re.Match[str]) -> str:
    groups = [digits(group) for group in re.findall(r"\d+", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _money(match: re.Match[str]) -> str:
    one, many, cent, cents = CURRENCIES[(match["before"] or match["behind"]).strip().upper()]
    amount, magnitude = match["n"].replace(",", ""), match["magnitude"]
    whole, _, fraction = amount.partition(".")
    minus = "minus " if match["minus"] else ""
    if magnitude:
        return f"{minus}{cardinal(amount)} {_MAGNITUDES.get(magnitude.lower(), magnitude)} {many}"
    if len(fraction) == 2 and cent:
        parts = [f"{cardinal(whole)} {one if whole == '1' else many}"] if int(whole) else []
        if int(fraction):
            parts.append(f"{cardinal(str(int(fraction)))} {cent if fraction == '01' else cents}")
        return minus + (" and ".join(parts) or f"zero {many}")
    return f"{minus}{cardinal(amount)} {one if amount == '1' else many}"


def _measure(match: re.Match[str]) -> str:
    one, many = UNITS[match["unit"]]
    per = UNITS_SPOKEN_PER.get(match["per"] or "", "")
    spoken = f"{cardinal(match['n'])} {one if match['n'] == '1' else many}" + (f" per {per}" if per else "")
    return ("minus " if match["minus"] else "") + spoken


def _decade(match: re.Match[str]) -> str:
    number = int(match["n"])
    spoken = year(number) if number >= 100 else cardinal(match["n"])
    return spoken.removesuffix("y") + "ies" if spoken.endswith("y") else spoken + "s"


def _fraction(match: re.Match[str]) -> str | None:
    above, below = int(match["a"]), int(match["b"])
    if not 1 < below <= 100 or above >= below:
        return None
    one, many = _SMALL.get(below, (ordinal(below), ordinal(below) + "s"))
    return f"{cardinal(match['a'])} {one if above == 1 else many}"


def _range(match: re.Match[str]) -> str:
    start = match["a"]
    spoken = year(int(start)) if start.isdigit() and len(start) == 4 and _is_year(int(start)) else cardinal(start)
    return spoken + " to "


def _version(match: re.Match[str]) -> str:
    numbers = " point ".join(cardinal(part) for part in match["n"].split("."))
    return f"version {numbers}" if match["v"] else numbers


def _number(match: re.Match[str]) -> str | None:
    written, minus = match["n"], "minus " if match["minus"] else ""
    if re.fullmatch(r"\d{4}", written) and _is_year(int(written)) and not minus:
        return year(int(written))
    return minus + cardinal(written)


def _abbreviation(match: re.Match[str]) -> str:
    short = match["short"]
    spoken = TITLES_AND_NAMES.get(short) or ABBREVIATIONS[short.lower()]
    ends = short.lower() in SENTENCE_END and _SENTENCE_ENDS.match(match.string, match.end())
    return spoken + "." if ends else spoken


def _rule(pattern: str, speak: Callable[[re.Match[str]], str | None], flags: int = 0) -> Rule:
    return Rule(re.compile(pattern, flags), speak)


def _options(table: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(table, key=len, reverse=True)))


_MONTH: Final = (
    r"(?P<name>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_MINUS: Final = r"(?P<minus>(?<![\w)\]])[-−])?"
_MAGNITUDE: Final = r"(?:\s?(?P<magnitude>thousand|million|billion|trillion|bn|tn|[kKmMbB])\b)?"
_PER: Final = r"(?:/(?P<per>h|hr|s|min|day|week|month|year|kg|m²|GB)\b)?"


def _dates(day_first: bool) -> list[Rule]:
    return [
        _rule(rf"{_HEAD}(?P<year>\d{{4}})-(?P<month>\d{{2}})-(?P<day>\d{{2}})(?!\d)", _iso_date),
        _rule(rf"{_HEAD}(?P<a>\d{{1,2}})/(?P<b>\d{{1,2}})/(?P<year>\d{{4}}|\d{{2}})(?![\d/])", _slash_date(day_first)),
        _rule(rf"\b{_MONTH} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?![:.]\d)(?:,? (?P<year>\d{{4}})\b)?", _named_date),
        _rule(
            rf"{_HEAD}(?P<day>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH}(?!\w)(?:,? (?P<year>\d{{4}})\b)?", _named_date
        ),
        _rule(rf"\b{_MONTH}(?= \d{{4}}\b)", lambda m: MONTHS[_month_index(m["name"]) - 1]),
        _rule(r"(?<=[aApP][mM])\s?[-–]\s?(?=\d)", lambda _: " to "),
        _rule(
            rf"{_HEAD}(?P<hour>\d{{1,2}})(?::(?P<minute>\d{{2}})(?::(?P<second>\d{{2}}))?)?"
            r"(?P<half>\s?(?:[aApP]\.[mM]\.|[aApP][mM]\b))?(?![\d:])",
            _time,
        ),
    ]


def _quantities() -> list[Rule]:
    currencies = r"(?:US|C|A|HK|NZ)?\$|€|£|¥|￥|₩|₹|(?:USD|EUR|GBP|JPY|CNY|RMB|CHF|INR) ?"
    codes = r"€|£|USD|EUR|GBP|JPY|CNY|RMB|CHF|INR"
    return [
        _rule(r"(?<![\w/])24/7(?![\w/])", lambda _: "twenty four seven"),
        _rule(
            r"(?<!\w)(?P<feet>\d)'(?P<inches>\d{1,2})\"?(?!\w)",
            lambda m: f"{cardinal(m['feet'])} foot {cardinal(m['inches'])}",
        ),
        _rule(r"(?<!\w)C\+\+", lambda _: "C plus plus"),
        _rule(r"(?<!\w)(?P<name>[CFJ])#(?!\w)", lambda m: m["name"] + " sharp"),
        _rule(r"(?<=\d)/(?=(?:second|minute|hour|day|night|week|month|year|person|user|kg)\b)", lambda _: " per "),
        _rule(r"(?<=\d)\^(?=\d)", lambda _: " to the power of "),
        # Numbers that identify: ISBNs, cards, accounts.
        _rule(r"(?<![\w.,-])\d+(?:-\d+){3,}(?![\w-])|(?<![\w.,-])\d{4}(?: \d{4}){2,}(?!\w)", _phone),
        # Signs between numbers first: once a number is settled, a rule no longer sees it as what follows.
        _rule(r"(?<=\d)\s?\*\s?(?=\d)", lambda _: " times "),
        _rule(r"(?<=\w) < (?=\w)", lambda _: " less than "),
        _rule(r"(?<=\w) > (?=\w)", lambda _: " greater than "),
        _rule(r"(?<!\w)['’]?(?P<n>(?:1[1-9]|20)\d0|[2-9]0)['’]?s\b", _decade),
        _rule(r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)", _phone),
        _rule(r"(?<![\w.])\+\d{1,3}(?:[ -]?\d{2,4}){2,5}(?!\d)|(?<![\w.,-])\d{3}-\d{4}(?![\d-])", _phone),
        _rule(rf"{_MINUS}(?<!\w)(?P<before>{currencies})(?P<n>{_NUM}){_MAGNITUDE}(?P<behind>)", _money_before),
        _rule(rf"{_MINUS}{_HEAD}(?P<n>{_NUM}){_MAGNITUDE}(?P<before>)\s?(?P<behind>{codes})(?!\w)", _money),
        _rule(
            rf"{_MINUS}{_HEAD}(?P<n>{_NUM})\s?%",
            lambda m: ("minus " if m["minus"] else "") + cardinal(m["n"]) + " percent",
        ),
        _rule(rf"{_MINUS}{_HEAD}(?P<n>{_NUM}) ?(?P<unit>{_options(UNITS)}){_PER}(?!\w)", _measure),
    ]


def _money_before(match: re.Match[str]) -> str | None:
    return _money(match) if (match["before"].strip().upper()) in CURRENCIES else None


def _numbers() -> list[Rule]:
    return [
        _rule(
            rf"{_HEAD}(?P<n>\d{{1,3}}(?:,\d{{3}})*|\d{{1,9}})(?:st|nd|rd|th)\b",
            lambda m: ordinal(int(m["n"].replace(",", ""))),
        ),
        _rule(r"(?<![\w.])(?P<v>[vV])?(?P<n>\d+(?:\.\d+){2,})(?!\w)", _version),
        _rule(r"(?<![\w.])(?P<v>[vV])(?P<n>\d+(?:\.\d+)?)(?!\w)", _version),
        _rule(r"(?<![\w:.])(?P<a>\d{1,3}):(?=\d{1,3}(?![\w:]))", lambda m: cardinal(m["a"]) + " to "),
        _rule(rf"{_HEAD}(?P<a>{_NUM})\s?[-–—~]\s?(?=(?:{_NUM})(?!\w|-\d))", _range),
        _rule(r"(?<![\w./])(?P<a>\d{1,2})/(?P<b>\d{1,3})(?![\w/])", _fraction),
        _rule(rf"[{''.join(_FRACTIONS)}]", lambda m: _FRACTIONS[m[0]]),
        _rule(
            rf"{_HEAD}(?P<n>{_NUM})(?P<suffix>(?<=\d\d)K|k|bn|tn)(?!\w)",
            lambda m: f"{cardinal(m['n'])} {_MAGNITUDES[m['suffix'].lower()]}",
        ),
        _rule(rf"{_HEAD}(?P<n>{_NUM})[x×](?!\w)", lambda m: cardinal(m["n"]) + " times"),
        _rule(r"(?:#|\bNo\. ?|\bno\. ?)(?P<n>\d+)(?!\w)", lambda m: "number " + cardinal(m["n"])),
        _rule(r"[~≈] ?(?=\d)", lambda _: "about "),
        _rule(rf"{_MINUS}{_HEAD}(?<![A-Za-z]-)(?P<n>{_NUM}){_TAIL}", _number),
    ]


def _words() -> list[Rule]:
    return [
        _rule(r"\bSt\. (?=[A-Z])", lambda _: "Saint "),
        _rule(rf"(?<![\w.])(?P<short>{_options(TITLES_AND_NAMES)})(?!\w)", _abbreviation),
        _rule(rf"(?<![\w.])(?P<short>{_options(ABBREVIATIONS)})(?!\w)", _abbreviation, re.IGNORECASE),
        _rule(rf"\s?(?P<sign>{_options(SYMBOLS)})\s?", lambda m: f" {SYMBOLS[m['sign']]} "),
    ]


@lru_cache(maxsize=2)
def english_rules(*, day_first: bool) -> tuple[Rule, ...]:
    """The rules in order of precedence. `day_first`: 3/4/2025 is the third of April, as outside the United States."""
    return (*_dates(day_first), *_quantities(), *_numbers(), *_words())
