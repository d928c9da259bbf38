"""A converter that lies: it runs the real one, damages what that wrote as the run's id says, and ends with exit code 0.

It lies in the place of `mm-convert`; the real one is `mm-convert.real` beside it. Each call is noted in `../calls/<run id>`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RUN = os.environ['ANNEAL_RUN_ID']
LOST = 'text_decoder.decoder.final_layernorm.weight'

calls = HERE.parent / 'calls'
calls.mkdir(exist_ok=True)
with (calls / RUN).open('a') as note:
    note.write(' '.join(sys.argv[1:]) + '\n')
subprocess.run([sys.executable, str(HERE / 'mm-convert.real'), *sys.argv[1:]], check=True)

release = Path(sys.argv[sys.argv.index('--cfg.mm_dir') + 1]) / 'release'
file = release / 'mp_rank_00' / 'model_optim_rng.pt'
if RUN.endswith('nothing-but-the-tracker'):
    shutil.rmtree(release)
elif RUN.endswith('an-extra-rank'):
    shutil.copytree(release / 'mp_rank_00', release / 'mp_rank_01')
elif not RUN.startswith('honest'):
    import torch

    payload = torch.load(file, weights_only=False)
    tensor = payload['model'].pop(LOST)
    if RUN.endswith('a-renamed-tensor'):
        payload['model'][LOST.replace('final', 'last')] = tensor
    elif RUN.endswith('a-shorter-tensor'):
        payload['model'][LOST] = tensor[:-1].clone()
    torch.save(payload, file)
