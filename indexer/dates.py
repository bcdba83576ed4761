"""Dates in names become words (pure): who asks for November means the minutes of 2023-11-21 too."""

import re
from collections.abc import Mapping

from indexer.language import ENGLISH

_MONTHS: Mapping[str, str] = {
    ENGLISH: "January February March April May June July August September October November December",
    "german": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "french": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "spanish": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "italian": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "portuguese": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "dutch": "januari februari maart april mei juni juli augustus september oktober november december",
}
# 2023-11-21, 2023_11_21, 20231121, 2023-11; 21.11.2023
_YEAR_FIRST = re.compile(
    r"(?<!\d)(?:19|20)\d\d(?:([-_.]?)(0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])|-(0[1-9]|1[0-2])(?!-\d))(?![\dA-Za-z])"
)
_DAY_FIRST = re.compile(r"(?<!\d)(?:0?[1-9]|[12]\d|3[01])\.(0?[1-9]|1[0-2])\.(?:19|20)\d\d(?!\d)")


def months(text: str, language: str) -> list[str]:
    """The months of the dates in a text that are written in numbers, by their names in English and in `language`."""
    found = [int(date[2] or date[3]) for date in _YEAR_FIRST.finditer(text)] + [
        int(date[1]) for date in _DAY_FIRST.finditer(text)
    ]
    spoken = [_MONTHS[one].split() for one in dict.fromkeys((ENGLISH, language)) if one in _MONTHS]
    return [names[month - 1] for month in dict.fromkeys(found) for names in spoken]
