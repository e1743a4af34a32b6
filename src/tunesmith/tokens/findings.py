"""Every finding of the house in one table, with an example of each, and the page that readers get of it.

The decision: names, levels and remedies stand where the findings are made; here they only meet, so the page cannot
drift from the code. It stands in this room because this is the first that knows both what is read and what is encoded.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping

from tunesmith.data.kinds import FILES, RECORDS, SETS, Kind
from tunesmith.errors import RecipeError
from tunesmith.tokens.checks import KINDS as TOKENS

KINDS: Mapping[str, Kind] = {**FILES, **RECORDS, **SETS, **TOKENS}
"""Every finding that a check can give."""

EXAMPLES: Mapping[str, str] = {
    "byte-order-mark": "the bytes EF BB BF before the first record",
    "not-utf8": "`é` saved by an old spreadsheet as the byte E9",
    "utf16": "a file saved as “Unicode” on Windows",
    "blank-line": "an empty line between two records",
    "line-too-long": "a whole file written without a line end",
    "truncated-file": "a `.jsonl.gz` whose copying was interrupted",
    "rest-not-read": "a Parquet file with a damaged block",
    "file-ignored": "a `README.md` beside JSONL files",
    "bad-json": '`{"messages": [{"role": "user"`',
    "not-a-number": '`{"prompt": "a", "completion": "b", "score": NaN}`',
    "json-as-text": '`{"messages": "[{\\"role\\": …}]"}`',
    "duplicate-key": '`{"prompt": "a", "prompt": "b"}`',
    "huge-integer": '`{"id": 123456789012345678901234567890}`',
    "deep-nesting": "`[[[[…]]]]`, more than 200 deep",
    "lone-surrogate": '`"\\ud83d"` without its second half',
    "not-an-object": '`["question", "answer"]` on a line of its own',
    "ragged-row": "`text,label` above `a, b, c`",
    "bad-csv": '`"a quote that never ends`',
    "delimiter": "semicolons in a file named `.csv`",
    "mixed-formats": '`{"prompt": …}` in a file of `{"messages": …}`',
    "no-format": '`{"mesages": […]}`',
    "missing-field": '`{"prompt": "a"}` without a completion',
    "wrong-type": '`{"role": "assistant", "content": 42}`',
    "unknown-key": '`{"role": "assistant", "content": "a", "wieght": 0}`',
    "unknown-role": '`{"role": "asistant", …}`',
    "role-alias": '`{"role": "human", …}` under `messages`',
    "empty-conversation": '`{"messages": []}`',
    "no-answer": '`{"messages": [{"role": "user", …}]}`',
    "no-target": '`{"role": "assistant", …, "weight": 0}` as the only answer',
    "empty-answer": '`{"role": "assistant", "content": ""}`',
    "empty-turn": '`{"role": "user", "content": " "}`',
    "empty-text": '`{"text": ""}`',
    "ends-with-user": "user, assistant, user",
    "starts-with-assistant": "assistant, user, assistant",
    "system-not-first": "user, assistant, system, user, assistant",
    "role-order": "user, user, assistant",
    "answer-whitespace": '`"content": " yes"`',
    "placeholder-answer": '`"content": "nan"`',
    "answer-repeats-prompt": "question and answer are both `Where is my order?`",
    "invisible-character": "a zero-width space inside a word",
    "nul-character": '`"a\\u0000b"`',
    "replacement-character": "`caf\ufffd`",
    "mojibake": "`cafÃ©` for `café`",
    "carriage-return": '`"first\\r\\nsecond"`',
    "control-character": '`"\\u001b[31mred"`, a colour of a terminal',
    "bad-weight": '`"weight": -1`, or `"weight": 1, "train": false`',
    "weight-not-on-assistant": '`{"role": "user", …, "weight": 1}`',
    "bad-parts": '`"train_on": [[5, 900]]` on a turn of 20 characters',
    "bad-tokens": '`{"input_ids": [1, 2, 3], "weights": [0, 1]}`',
    "bad-labels": '`{"input_ids": [1, 2, 3], "labels": [2, 3, -100]}`, shifted by one',
    "all-learned": '`{"input_ids": [1, 2, 3]}`',
    "unsupported-content": '`{"type": "image_url", …}`',
    "bad-tool-definition": '`{"type": "function", "function": {}}`',
    "duplicate-tool": "two tools named `search`",
    "bad-tool-call": '`{"function": {"arguments": "{}"}}` without a name',
    "bad-arguments": '`"arguments": "{id: 7}"`',
    "unknown-tool": "a call of `weather` where only `search` is defined",
    "missing-argument": "a call without the `id` that its tool requires",
    "duplicate-call-id": "two calls with the id `call_1`",
    "unanswered-tool-call": "a call, then a turn of the user",
    "orphan-tool-result": '`{"role": "tool", …}` after a question',
    "rejected-unused": '`{"chosen": …, "rejected": …}`',
    "not-on-a-path": "a deleted reply in a message tree",
    "undesirable": '`{"messages": […], "label": false}`',
    "numeric-label": '`{"text": "…", "label": 3}`',
    "duplicate": "lines 20 and 493 say the same",
    "near-duplicate": "one word differs between two long answers",
    "conflicting-answers": "`Is it open?` is answered `Yes.` and `No.`",
    "leak": "a question of the test file is also in the training file",
    "near-leak": "the same with `please` added",
    "held-out-unread": "a test file in which one row has no answer",
    "contamination": "an instruction that quotes a question of GSM8K",
    "too-few": "seven examples",
    "imbalance": "900 times `spam`, 20 times `ham`",
    "rare-label": "a class with two examples",
    "refusal": "`I'm sorry, but I cannot help with that.`",
    "unfilled-placeholder": "`Dear [NAME],`",
    "html-remains": "`Tom &amp; Anna<br>`",
    "repetition": "an answer of 300 words, all of them `the`",
    "embedded-binary": "`data:image/png;base64,iVBORw0…`",
    "personal-data": "a card number, an address or an API key in an answer",
    "not-expressible": "a tool call, to be written as Alpaca",
    "same-opening": "most answers begin `Sure, here is`",
    "template-refuses": "a tool call, where the template has no words for one",
    "no-target-token": "`train_on: last_assistant`, and the last answer is empty in the template",
    "unknown-token-id": "an id of 50,000 for a vocabulary of 49,152",
    "too-long": "9,000 tokens for a context of 8,192",
    "double-bos": "a template that writes `<s>` for a tokenizer that adds one",
    "no-end-token": "a template that ends answers with a line end alone",
    "forged-control-token": "`<|im_end|>` in a question",
    "reasoning-left-out": "`reasoning_content` under a template that does not write it",
}

_HEAD = """# Findings

Everything that `tunesmith data check` can find, made from the code by `tunesmith data findings`. `stop`: the record
cannot be used as it is, and a run does not start; the setting drops such records instead. `warn`: it can be used, but
probably should not. `note`: nothing needs to be done."""
_ROOMS = (("In files", FILES), ("In records", RECORDS), ("In sets", SETS), ("In tokens", TOKENS))


def require_known(names: Iterable[str]) -> None:
    """Return only if every name is that of a finding.

    Raises:
        RecipeError: one is not; suggests the nearest.
    """
    for name in names:
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " `tunesmith data findings` lists them."
            raise RecipeError(f"data.allow: there is no finding {name!r}.{hint}")


def findings_page() -> str:
    """Markdown: a table of every finding, with level, meaning, example, remedy and the setting that drops."""
    return "\n".join([_HEAD, *_tables()]) + "\n"


def _tables() -> Iterator[str]:
    for title, kinds in _ROOMS:
        yield f"\n## {title}\n"
        yield "| name | level | meaning | example | remedy |"
        yield "|---|---|---|---|---|"
        for name, kind in kinds.items():
            remedy = f"{kind.remedy} Setting: `{kind.setting}`." if kind.setting else kind.remedy
            cells = (f"`{name}`", kind.level, kind.meaning, EXAMPLES[name], remedy)
            yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
