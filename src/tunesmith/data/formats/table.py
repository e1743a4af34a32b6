"""All formats, in the order in which they are tried.

The decision: one table. The more particular format stands first, so that a record that fits two is read as the one
that uses more of it.
"""

from tunesmith.data.formats.classification import CLASSIFICATION
from tunesmith.data.formats.format import Format
from tunesmith.data.formats.messages import MESSAGES
from tunesmith.data.formats.pairs import ALPACA, DOLLY, FLAN, PROMPT_COMPLETION, SELF_INSTRUCT
from tunesmith.data.formats.preference import MARKED, PREFERENCE, RANKED
from tunesmith.data.formats.sharegpt import SHAREGPT
from tunesmith.data.formats.text import TEXT
from tunesmith.data.formats.tokenized import TOKENIZED
from tunesmith.data.formats.tree import TREE

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        TOKENIZED,
        TREE,
        PREFERENCE,
        RANKED,
        MARKED,
        MESSAGES,
        SHAREGPT,
        PROMPT_COMPLETION,
        ALPACA,
        DOLLY,
        FLAN,
        SELF_INSTRUCT,
        CLASSIFICATION,
        TEXT,
    )
}
