/** Which of the two entry scripts trains InternVL. */
import type { Layout } from '../../../plan/layout.js';
import type { InternvlPreset } from './presets.js';

/** Only pretrain_internvl.py knows Dist-train, and InternVL2.5's own scripts run it; InternVL3's run pretrain_vlm.py. */
export function runsInternvlScript({ family }: InternvlPreset, layout: Layout): boolean {
  return layout.distTrain || family === 'internvl2.5';
}
