/**
 * Any one process is killed at a named moment, and the run ends by itself in the same bits: the kill table of `test/support/survives`.
 * `npm test` plays some of its rows, `npm run show:survives` all of them, on one cluster one after another.
 */
import { afterAll, beforeAll, describe, expect, test, type TaskMeta } from 'vitest';
import { DevCluster } from '../support/dev-cluster.js';
import { Ground, type Survived } from '../support/survives/play.js';
import { EVERY, nameOf, ROWS, storeOf, type Row } from '../support/survives/table.js';
import { noGateway } from '../support/versitygw.js';

declare module 'vitest' {
  interface TaskMeta {
    /** For `npm run show:survives`. */
    survived?: Survived & { readonly isEqual: boolean };
  }
}

/** `all`, or parts of the names of the rows to play, divided by `|`; left out, those that are always played. */
const chosen = process.env['ANNEAL_SURVIVES'];
const rows = ROWS.filter((row) => {
  if (chosen === undefined) return row.always === true;
  return chosen === 'all' || chosen.split('|').some((part) => nameOf(row).includes(part));
});

for (const store of [undefined, 's3'] as const) {
  const here = rows.filter((row) => storeOf(row) === store);
  if (here.length === 0) continue;
  describe.skipIf(store === 's3' && noGateway())(store === undefined ? 'on a folder' : 'on an S3 store', () => {
    let cluster: DevCluster;
    let ground: Ground;

    beforeAll(async () => {
      cluster = await DevCluster.start({ agents: 2, ...(store === undefined ? {} : { store }) });
      ground = await Ground.prepare(cluster);
    });

    afterAll(async () => {
      expect(await cluster.stop()).toEqual([]);
    });

    for (const row of here) test(nameOf(row), ({ task }) => survives(ground, row, task.meta));
  });
}

async function survives(ground: Ground, row: Row, meta: TaskMeta): Promise<void> {
  const survived = await ground.play(row);
  const digest = await ground.undisturbedDigest(row.iterations);
  meta.survived = { ...survived, isEqual: survived.digest === digest };

  expect(survived.digest).toBe(digest);
  expect([row.recovery, row.or]).toContain(survived.recovery);
  const generations = generationsOf(row);
  expect(survived.generations).toEqual(generations);
  expect(survived.trainersStarted).toBe(generations.length);
  expect(survived.trainersAtOnce).toBe(Math.min(1, generations.length));
  const [first = [], ...others] = survived.hosts.map((hosts) => hosts.toSorted());
  for (const hosts of others) expect(hosts).toEqual(first);
  if (row.recovery !== 'new generation') {
    expect(survived.incidents).toEqual([]);
    return;
  }
  const before = (Math.ceil(survived.at / EVERY) - 1) * EVERY;
  expect(survived.from).toBe(row.from === 'this save' ? survived.at : before);
  expect(survived.lost).toBeGreaterThanOrEqual(0);
  expect(survived.lost).toBeLessThanOrEqual(EVERY);
  const told = survived.incidents.map(({ generation, failure, iterationsLost }) => ({
    generation,
    failure,
    iterationsLost,
  }));
  expect(told).toEqual([{ generation: 1, failure: row.failure, iterationsLost: survived.lost }]);
}

/** Of a stage that is not the training there are none. */
function generationsOf({ moment, recovery }: Row): readonly number[] {
  if (moment === 'publish half done') return [];
  return recovery === 'new generation' ? [1, 2] : [1];
}
