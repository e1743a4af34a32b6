"""The language of a text, roughly: enough to see that a set is mixed.

The decision: no model and no list of n-grams, but the script of the letters and, for Latin and Cyrillic ones, the
commonest short words. Short texts and texts that fit nothing are `unknown`, which is honest; this is a census, no
judgement of a single text.
"""

import re
from operator import itemgetter

SAMPLE = 300
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("el", re.compile("[\u0370-\u03ff]")),
)
_COMMON = {
    "en": "the and of to is in that it for you with are this was have not be what how my",
    "de": "der die und das ist nicht ich sie mit ein eine den zu auf für von wie dem auch es",
    "fr": "le la les et des est une que pour dans pas vous je qui sur avec au ce il du",
    "es": "el los las que de y en una es por con para no se del como lo mi su más",
    "it": "il che di e la un una per non è sono con del come mi si gli della più le",
    "pt": "os que de e em uma é não para com por da mais eu um você são isso seu muito ao",
    "nl": "de het een en van is dat niet ik je op te voor met zijn aan er maar ook hoe",
    "pl": "nie się jest że w z jak co tak czy jego mnie są przez ich była które może tego tylko",
    "tr": "bir ve bu için ne da de çok ile ben var daha gibi ama mi olarak sonra en kadar değil",
    "sv": "och att det som en är på för med inte jag av den till ett har om vi men hur",
    "ru": "и в не на что с я он как это по но из у за то все так его же",  # noqa: RUF001
    "uk": "і в не на що з я він як це та до за але від у він її також бути",  # noqa: RUF001
}
_LANGUAGES: dict[str, list[str]] = {}
for _language, _words in _COMMON.items():
    for _word in _words.split():
        _LANGUAGES.setdefault(_word, []).append(_language)
_WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str:
    """The ISO 639-1 code of the likeliest language, or `unknown`."""
    sample = text[:SAMPLE]
    if not sample.isascii():
        for language, letters in _SCRIPTS:
            if len(letters.findall(sample)) * 4 > len(sample.replace(" ", "")):
                return language
    words = _WORD.findall(sample.lower())
    hits: dict[str, int] = {}
    for word in words:
        for language in _LANGUAGES.get(word, ()):
            hits[language] = hits.get(language, 0) + 1
    ranked = [*sorted(hits.items(), key=itemgetter(1), reverse=True), ("unknown", 0), ("unknown", 0)]
    (best, count), (_, second) = ranked[:2]
    return best if count * 12 >= len(words) and count > second else "unknown"
