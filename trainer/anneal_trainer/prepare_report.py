"""Count the rows that were seen, name the bad ones, and decide whether the data is good enough to train on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .prepare_rows import REASONS, RowFault
from .prepare_sources import DataRefused

EXAMPLES_PER_REASON = 20
"""How many rows the report names per reason; the counts are always complete."""
NAMED_IN_REFUSAL = 6
"""Of how many reasons the refusal itself names a row: enough for most data sets, and still a text that is read."""


@dataclass
class Tally:
    """What was seen so far."""

    good: int = 0
    bad: int = 0
    reasons: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens_sum: int = 0
    tokens_min: int = 0
    tokens_max: int = 0

    def add_fault(self, file: str, line: int, identity: Any, fault: RowFault) -> None:
        """Count a bad row, and keep it as an example while there is room."""
        self.bad += 1
        entry = self.reasons.setdefault(fault.reason, {'count': 0, 'meaning': REASONS[fault.reason], 'examples': []})
        entry['count'] += 1
        if len(entry['examples']) < EXAMPLES_PER_REASON:
            example = {'file': file, 'line': line, 'id': identity, 'reason': fault.reason, 'detail': fault.detail}
            entry['examples'].append(example)

    def add_good(self, tokens: int) -> None:
        """Count a good row of so many tokens."""
        self.tokens_min = min(self.tokens_min, tokens) if self.good else tokens
        self.tokens_max = max(self.tokens_max, tokens)
        self.tokens_sum += tokens
        self.good += 1


def refuse_if_bad(tally: Tally, max_bad_rows: int | None, report: Path | None) -> None:
    """Write the report; raise DataRefused if no row is good, or more are bad than allowed (None: any number)."""
    reasons = dict(sorted(tally.reasons.items()))
    if report is not None:
        content = {'rows': tally.good + tally.bad, 'bad_rows': tally.bad, 'reasons': reasons}
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
    if tally.good > 0 and (max_bad_rows is None or tally.bad <= max_bad_rows):
        return
    counts = ', '.join(f'{entry["count"]} {reason}' for reason, entry in reasons.items())
    what = f'{tally.bad} of {tally.good + tally.bad} rows cannot be used ({counts or "there are no rows"}).'
    examples = [example for entry in reasons.values() for example in entry['examples'][:1]]
    shown = ''.join(
        f' {x["file"]} line {x["line"]}, id {x["id"]!r}: {REASONS[x["reason"]]}: {x["detail"]}.'
        for x in examples[:NAMED_IN_REFUSAL]
    )
    advice = (
        ''
        if tally.good == 0
        else f', or allow more bad rows than {max_bad_rows} (--max-bad-rows; in a spec data.maximumBadRows)'
    )
    listed = '' if report is None else f'; {report} names them'
    raise DataRefused(f'{what}{shown} Repair the rows{advice}{listed}.')
