/** A tower's layers by stage, as model.json has them. */
import { layerRows, type TowerLayout } from '../../plan/layout.js';
import type { JsonWithHoles } from '../../plan/plan.js';

/** One list without virtual stages, one list for each of them with. */
export function pipelineLayers(tower: TowerLayout): JsonWithHoles {
  const rows = layerRows(tower);
  return rows.length === 1 ? (rows[0] ?? []) : rows;
}
