/** `mm-convert` in the environment's bin: the converter under the name that MindSpeed MM gives it. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './files.mjs';

/**
 * The environment is shared by all clones with the same lock, so the launcher must not belong to one of them. The trainer it runs is
 * the one that ANNEAL_TRAINER_HOME names (agents set it), else the one of the clone whose `.venv/bin/mm-convert` was called,
 * else the one of the clone that made the environment.
 * @param {string} folder of the environment
 */
export function writeLauncher(folder) {
  const path = join(folder, 'bin/mm-convert');
  writeFileSync(path, script(join(root, 'trainer')));
  chmodSync(path, 0o755);
}

/** @param {string} recordedHome */
function script(recordedHome) {
  // The first two lines are shell and a Python string at once: they find the Python beside the script, wherever that was moved.
  return `#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
"""Runs the converter of Anneal's trainer as MindSpeed MM's mm-convert is run. Written by set-up."""
import os
import sys
from pathlib import Path

homes = [
    os.environ.get("ANNEAL_TRAINER_HOME"),
    Path(os.path.abspath(sys.argv[0])).parents[2] / "trainer",  # <clone>/.venv/bin/mm-convert, the link not followed
    ${JSON.stringify(recordedHome)},
]
home = homes[0] or next((str(h) for h in homes[1:] if (Path(h) / "anneal_trainer").is_dir()), None)
if home is None:
    sys.exit("mm-convert finds no trainer: set ANNEAL_TRAINER_HOME to the folder trainer of a clone of Anneal.")
sys.path.insert(0, home)

from anneal_trainer.mm_convert import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
`;
}
