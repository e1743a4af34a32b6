"""Forty faults among a thousand good rows, each found at its line, and nothing good refused."""

from collections import defaultdict
from pathlib import Path

from oracles.planted_faults import write
from tiny_model import tiny_model

from tunesmith.data.checks import Finding
from tunesmith.run.check import check

TEMPLATE = """{%- if tools %}<|im_start|>system
{{ tools | tojson }}<|im_end|>
{% endif -%}
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{{ m.content or '' }}
{%- for call in m.tool_calls or [] %}<call>{{ call.function.name }} {{ call.function.arguments }}</call>{% endfor -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}"""


def test_every_planted_fault_is_found_at_its_line_and_no_good_row_is_stopped(tmp_path: Path) -> None:
    file, planted = write(tmp_path)
    template = tmp_path / "tools.jinja"
    template.write_text(TEMPLATE)
    model = tiny_model(tmp_path / "model", context=8192)
    checked = check([str(file)], model=str(model), settings=[f"supervision.chat_template={template}"])
    found: defaultdict[int | None, list[Finding]] = defaultdict(list)
    for finding in checked.findings:
        found[finding.line].append(finding)
    missed = [
        fault for fault in planted
        if not any(fault.told == "odd" or finding.level == "stop" for finding in found[fault.line])
    ]  # fmt: skip
    assert len(planted) == 40
    assert not missed
    spoiled = {fault.line for fault in planted}
    assert not [finding for line in set(found) - spoiled for finding in found[line]]
    assert checked.read == len(planted) + 1000 == checked.usable + sum(checked.dropped.values())
