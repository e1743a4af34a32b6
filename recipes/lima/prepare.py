"""LIMA as it is read by its own format: 200 conversations, the multi-turn ones among them.

    python recipes/lima/prepare.py FOLDER      FOLDER holds lima.json

Writes data/lima/{train,validation}.json: 200 and 40 records, unchanged; every conversation of several turns that fits
is taken, then single-turn ones by a hash of the instruction. Data: Zhou et al., 2023, https://arxiv.org/abs/2305.11206,
CC BY-NC-SA.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

OUT = Path("data/lima")
TRAIN, VALIDATION, MULTI_TURN = 200, 40, 30
LONGEST = 4000
"""Characters; longer ones take a CPU minutes each."""


def main(folder: Path) -> None:
    """Read the file of `folder` and write the two of this recipe."""
    rows: list[dict[str, Any]] = json.loads((folder / "lima.json").read_text(encoding="utf-8"))
    fitting = [row for row in rows if len(json.dumps(row)) <= LONGEST]
    fitting.sort(key=lambda row: hashlib.sha256(row["instruction"].encode()).digest())
    several = [row for row in fitting if row["history"]][:MULTI_TURN]
    single = [row for row in fitting if not row["history"]]
    chosen = {"train": several + single[: TRAIN - len(several)], "validation": single[TRAIN : TRAIN + VALIDATION]}
    OUT.mkdir(parents=True, exist_ok=True)
    for name, part in chosen.items():
        (OUT / f"{name}.json").write_text(json.dumps(part, ensure_ascii=False, indent=1), encoding="utf-8")
        print(f"{OUT / name}.json: {len(part)} records, {sum(bool(row['history']) for row in part)} of several turns")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
