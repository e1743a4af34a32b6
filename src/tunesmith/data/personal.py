"""What looks like personal data or a key in a text.

The decision: few patterns with a check of their own where there is one (cards by Luhn's sum, IBANs by their remainder
of 97, ISO 13616), because a detector that cries at every number is switched off. It finds forms, not names.
"""

import re

_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]*[a-zA-Z]{2,}\b")
_CARD = re.compile(r"\b(?:\d{4}([ -]?)\d{4}\1\d{4}\1\d{4}|3\d{3}([ -]?)\d{6}\2\d{5})\b")
_DIGITS = re.compile(r"\d{3}")
_PHONE = re.compile(r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}|\(\d{3}\) ?\d{3}-\d{4})(?!\w)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_KEYS = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|sk-[A-Za-z0-9_-]{20,}|hf_[A-Za-z]{30,}|xox[abpr]-[\w-]{10,}|"
    r"AIza[\w-]{35})\b|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"
)
# Looking for these is ten times as fast as for the patterns.
_KEY_SIGNS = ("AKIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "sk-", "hf_", "xox", "AIza", "PRIVATE KEY")
# Addresses that documents use as examples (RFC 2606) are nobody's.
_NOBODY = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|test|invalid|localhost)$", re.IGNORECASE)


def personal_data(text: str) -> set[str]:
    """The kinds of personal data that a text seems to hold: e-mail, phone, card, iban, key."""
    found = set()
    if "@" in text and any(not _NOBODY.search(mail) for mail in _MAIL.findall(text)):
        found.add("e-mail")
    if _DIGITS.search(text):
        if any(_luhn(number.group()) for number in _CARD.finditer(text)):
            found.add("card")
        elif ("+" in text or "(" in text) and _PHONE.search(text):
            found.add("phone")
        if any(_iban(number) for number in _IBAN.findall(text)):
            found.add("iban")
    if any(sign in text for sign in _KEY_SIGNS) and _KEYS.search(text):
        found.add("key")
    return found


def _luhn(written: str) -> bool:
    digits = [int(sign) for sign in written if sign.isdigit()]
    if len(set(digits)) < 3:
        return False
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    # Cards begin with 2 to 6; a Luhn sum alone would take every tenth long number for one.
    return digits[0] in (2, 3, 4, 5, 6) and sum(doubled) % 10 == 0


def _iban(written: str) -> bool:
    letters = written.replace(" ", "")
    turned = letters[4:] + letters[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1
