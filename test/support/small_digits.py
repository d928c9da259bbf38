"""Write the first N digits of the demo's data set as a tree of their own: small enough for a test to fetch in a second.

Usage: small_digits.py FOLDER N
"""

import json
import sys
from pathlib import Path

from anneal_trainer.digits import build_rows, load_scans, scan_to_image

out, count = Path(sys.argv[1]), int(sys.argv[2])
images = out / 'playground' / 'data' / 'digits'
images.mkdir(parents=True)
for index, scan in enumerate(load_scans()[0][:count]):
    scan_to_image(scan).save(images / f'{index:05d}.png', compress_level=0)
rows = [row for row in build_rows('vqa') if int(Path(row['image']).stem) < count]
annotation = out / 'playground' / 'opensource' / 'digits_vqa.jsonl'
annotation.parent.mkdir(parents=True)
annotation.write_text(''.join(json.dumps(row) + '\n' for row in rows), encoding='utf-8')
meta = {'digits_vqa': {'root': 'playground/data/', 'annotation': 'playground/opensource/digits_vqa.jsonl'}}
meta['digits_vqa'] |= {'data_augment': False, 'repeat_time': 1, 'length': len(rows)}
(out / 'playground' / 'meta.json').write_text(json.dumps(meta) + '\n', encoding='utf-8')
