/** The chain and the gang on a real server: what runs, what is reused, what is tried again, and where. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { WorkflowFailedError } from '@temporalio/client';
import { describe, expect, test } from 'vitest';
import { QUERIES, type GangState, type PoolState, type RunState } from '../../src/contract/messages.js';
import { poolWorkflowId, runWorkflowId, trainWorkflowId } from '../../src/contract/names.js';
import { OPENING, ref, type Behaviour } from '../support/fake-cluster.js';
import { freshClusters } from '../support/fresh-clusters.js';
import { until } from '../support/until.js';

const start = freshClusters('c');

const trainer = (type: string, message = type): ApplicationFailure => ApplicationFailure.nonRetryable(message, type);

describe('a run', () => {
  test('goes through all six stages and promotes a result that passes the gate', async () => {
    const { acts, log } = await runOf({});
    const done = acts.filter((act) => !/^(look|record|delete)/.test(act));
    // What runs side by side comes in any order.
    const parallel = [
      done.slice(0, 2).sort(),
      done.slice(2, 4),
      done.slice(4, 8).sort(),
      done.slice(8, 10).sort(),
      done.slice(10),
    ];
    expect(parallel).toEqual([
      ['fetch-data host-a', 'fetch-model host-a'],
      ['convert host-a', 'prepare host-a'],
      ['check host-a', 'check host-b', 'stage in g1 from 0 host-a', 'stage in g1 from 0 host-b'],
      ['train g1 node 0 host-a', 'train g1 node 1 host-b'],
      ['publish host-a', 'evaluate host-a', 'promote'],
    ]);
    expect(log.map(({ fact }) => fact)).toEqual(['open', 'commit']);
  });

  test('fetches a save folder to begin from beside the others, and converts from it', async () => {
    const converted: unknown[] = [];
    const { acts } = await runOf({
      opening: { inputs: { ...OPENING.inputs, convert: ['model', 'start'] } },
      result: (stage, { inputs }) => {
        if (stage === 'convert') converted.push(inputs);
        return undefined;
      },
      replays: true,
    });
    const fetched = acts.filter((act) => act.startsWith('fetch')).sort();
    expect(fetched).toEqual(['fetch-data host-a', 'fetch-model host-a', 'fetch-start host-a']);
    expect(converted).toEqual([{ model: ref('model'), start: ref('start') }]);
  });

  test('replays at each of its tasks', async () => {
    const { log } = await runOf({ replays: true });
    expect(log.map(({ fact }) => fact)).toEqual(['open', 'commit']);
  });

  test('skips every stage that was made before and says by whom', async () => {
    const fake = await start({
      found: ['fetch-model', 'fetch-data', 'convert', 'prepare', 'train', 'publish', 'evaluate'],
    });
    const handle = await fake.submit('reuse');
    const result = await handle.result();
    expect(result.outcome).toBe('promoted');
    expect(fake.acts.filter((act) => !act.startsWith('look'))).toEqual(['promote']);
    const state = await handle.query<RunState>(QUERIES.state);
    expect(state.stages.map(({ status, note }) => `${status}: ${note}`)).toEqual(
      Array.from({ length: 6 }, () => 'reused: made by run earlier'),
    );
  });

  test('is rejected by its gate without a promotion', async () => {
    const { acts, result } = await runOf({ accuracy: 0.5 });
    expect(result.outcome).toBe('rejected');
    expect(acts).not.toContain('promote');
  });

  test.each(['CommandFailed', 'HostFull', 'OutOfHostMemory'] as const)(
    'tries a stage on another host after %s',
    async (type) => {
      const { acts } = await runOf({
        stage: (item, host) =>
          item === 'convert' && host === 'host-a' ? Promise.reject(trainer(type)) : Promise.resolve(),
      });
      expect(acts.filter((act) => act.startsWith('convert'))).toEqual(['convert host-a', 'convert host-b']);
    },
  );

  test('looks for a folder on every host once and then says that it is nowhere', async () => {
    const fake = await start({
      stage: (item) =>
        item === 'fetch-model' ? Promise.reject(trainer('SourceNotFound', 'There is no /model.')) : Promise.resolve(),
    });
    const error: unknown = await fake.run('nowhere').catch((thrown: unknown) => thrown);
    expect((error as WorkflowFailedError).cause).toMatchObject({ type: 'SourceNotFound' });
    const hosts = fake.acts.filter((act) => act.startsWith('fetch-model')).map((act) => act.split(' ')[1]);
    expect([...new Set(hosts)]).toEqual(['host-a', 'host-b', 'host-c']);
  });

  test('fails at once, with its own sentence, when its data is refused', async () => {
    const fake = await start({
      stage: (item) =>
        item === 'prepare' ? Promise.reject(trainer('DataRefused', 'Row 7 has no image.')) : Promise.resolve(),
    });
    const error: unknown = await fake.run('refused').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(WorkflowFailedError);
    const { cause } = error as WorkflowFailedError;
    expect(cause).toMatchObject({ type: 'DataRefused' });
    expect(cause?.message).toContain('Row 7 has no image.');
    expect(fake.acts.filter((act) => act.startsWith('prepare'))).toHaveLength(1);
  });

  test('makes an artifact again that was found damaged after it had been looked at', async () => {
    let damaged = true;
    const { acts } = await runOf({
      stage: (item) => {
        if (item !== 'publish' || !damaged) return Promise.resolve();
        damaged = false;
        return Promise.reject(trainer('ArtifactCorrupt'));
      },
    });
    expect(acts.filter((act) => act === 'look convert')).toHaveLength(2);
  });
});

describe('a gang', () => {
  test('goes on from the last commit in a new generation when a rank dies', async () => {
    const { acts, log } = await runOf({
      trainRank: (input, _host, fake) => {
        const { generation, nodeRank } = input;
        if (nodeRank === 0) fake.save(input, generation === 1 ? 10 : 30);
        if (generation === 1) return Promise.reject(trainer(nodeRank === 0 ? 'TrainerFailed' : 'PeerLost'));
        return Promise.resolve({ iteration: 30 });
      },
    });
    expect(acts).toContain('stop g1 host-a');
    expect(acts).toContain('stop g1 host-b');
    expect(acts).toContain('stage in g2 from 10 host-b');
    expect(log.map((fact) => `${fact.fact} ${String(fact.generation)}`)).toEqual([
      'open 1',
      'commit 1',
      'open 2',
      'commit 2',
    ]);
  });

  test('counts what is lost up to where any node came, also one that ended well', async () => {
    const fake = await start({
      trainRank: (input, _host, one) => {
        const { generation, nodeRank } = input;
        if (nodeRank === 0) one.save(input, generation === 1 ? 10 : 30);
        return generation === 1 && nodeRank === 0
          ? Promise.reject(trainer('SupervisorLost'))
          : Promise.resolve({ iteration: 30 });
      },
    });
    await fake.run('ended-well');
    const train = fake.client.workflow.getHandle(trainWorkflowId('ended-well'));
    expect((await train.query<GangState>(QUERIES.gang)).incidents).toMatchObject([{ iterationsLost: 20 }]);
  });

  test('blames the node that died, also when the node that lost it is heard first', async () => {
    const fake = await start({
      trainRank: async (input, host, one) => {
        if (input.nodeRank === 0) one.save(input, input.generation === 1 ? 10 : 30);
        if (input.generation > 1) return { iteration: 30 };
        if (input.nodeRank === 0) throw trainer('PeerLost', 'A connection was closed.');
        // As a real trainer: who stops it before it has reported learns only that it was stopped.
        for (let turn = 0; turn < 20; turn += 1) {
          if (one.acts.includes(`stop g1 ${host}`)) throw trainer('StaleGeneration', 'It was asked to stop.');
          Context.current().heartbeat();
          await Context.current().sleep(50);
        }
        throw trainer('TrainerFailed', 'Rank 1 was killed.');
      },
    });
    await fake.run('echo');
    const gang = fake.client.workflow.getHandle(trainWorkflowId('echo'));
    const { incidents } = await gang.query<GangState>(QUERIES.gang);
    expect(incidents).toMatchObject([
      { generation: 1, host: 'host-b', message: 'Rank 1 was killed.', evidence: 'runs/echo/incidents/000001/' },
    ]);
  });

  test('schedules the same work again in the same generation when an agent restarts', async () => {
    let restarts = 0;
    const { acts, log } = await runOf({
      trainRank: (input, _host, fake) => {
        const { nodeRank } = input;
        if (nodeRank === 0 && restarts < 3) {
          restarts += 1;
          return Promise.reject(trainer('AgentRestarted'));
        }
        if (nodeRank === 0) fake.save(input, 30);
        return Promise.resolve({ iteration: 30 });
      },
    });
    expect(acts.filter((act) => act === 'train g1 node 0 host-a')).toHaveLength(4);
    expect(log.filter(({ fact }) => fact === 'open')).toHaveLength(1);
  });

  test.each([
    ['any number of times while it commits', true, 1],
    ['twenty times without a commit, and once more ends the generation', false, 2],
  ])('an agent may come and go %s', async (_, commits, generations) => {
    let restarts = 0;
    const { log } = await runOf({
      trainRank: async (input, _host, fake) => {
        if (input.nodeRank !== 0) return { iteration: 30 };
        const isFirst = input.generation === 1;
        if (isFirst && commits && restarts === 12) {
          fake.save(input, 10);
          await until('it is committed', 20_000, () => fake.logOf(input.runId).length > 1 || undefined);
        }
        if (isFirst && restarts < 30) {
          restarts += 1;
          throw trainer('AgentRestarted');
        }
        fake.save(input, 30);
        return { iteration: 30 };
      },
    });
    expect(restarts).toBe(commits ? 30 : 21);
    expect(log.filter(({ fact }) => fact === 'open')).toHaveLength(generations);
  });

  test('waits for a host that a trainer which was given up still holds, and launches there in the same generation', async () => {
    const { acts, log } = await runOf({
      trainRank: (input, _host, fake) => {
        const launches = fake.acts.filter((act) => act === 'train g1 node 1 host-b').length;
        if (input.nodeRank === 1 && launches === 1) return Promise.reject(trainer('HostBusy'));
        if (input.nodeRank === 0) fake.save(input, 30);
        return Promise.resolve({ iteration: 30 });
      },
    });
    expect(acts.filter((act) => act === 'train g1 node 1 host-b')).toHaveLength(2);
    expect(log.filter(({ fact }) => fact === 'open')).toHaveLength(1);
  });

  test('takes silence for silence and attaches again', async () => {
    let attempts = 0;
    const { log } = await runOf({
      trainRank: async (input, _host, fake) => {
        // The first attempt never beats: the server reports it silent after the heartbeat limit.
        if (input.nodeRank === 1 && attempts++ === 0) await Context.current().cancelled;
        if (input.nodeRank === 0) fake.save(input, 30);
        return { iteration: 30 };
      },
    });
    expect(attempts).toBe(2);
    expect(log.filter(({ fact }) => fact === 'open')).toHaveLength(1);
  });

  test('gives up after three restarts in a row that gained no checkpoint', async () => {
    const fake = await start({ trainRank: () => Promise.reject(trainer('TrainerFailed', 'It is broken.')) });
    const error: unknown = await fake.run('hopeless').catch((thrown: unknown) => thrown);
    expect((error as WorkflowFailedError).cause).toMatchObject({ type: 'BudgetExhausted' });
    expect(fake.logOf('hopeless').filter(({ fact }) => fact === 'open')).toHaveLength(3);
    // The last one goes with no fact: it is told before the gang ends.
    const run = fake.client.workflow.getHandle(runWorkflowId('hopeless'));
    expect((await run.query<RunState>(QUERIES.state)).gang?.incidents).toHaveLength(3);
  });

  test('does not count restarts that gained a checkpoint, and counts anew after each of them', async () => {
    const saves = [10, 0, 0, 20, 0, 0, 30];
    const { log } = await runOf({
      trainRank: (input, _host, fake) => {
        const saved = saves[input.generation - 1] ?? 0;
        if (input.nodeRank === 0 && saved > 0) fake.save(input, saved);
        return saved === 30 ? Promise.resolve({ iteration: 30 }) : Promise.reject(trainer('TrainerFailed'));
      },
    });
    expect(log.filter(({ fact }) => fact === 'open')).toHaveLength(saves.length);
  });

  test('keeps the last commits: a new one drops what is too old by it, for no event more than its own', async () => {
    const lengths: number[] = [];
    for (const commits of [10, 30]) {
      const { acts, log, events } = await runOf(savingOneByOne(commits));
      const rows = log.map((fact) => (fact.fact === 'open' ? 'open' : `${fact.fact} ${String(fact.iteration)}`));
      const first = ['open', 'commit 1', 'commit 2', 'commit 3', 'drop 1', 'commit 4', 'drop 2'];
      expect(rows.slice(0, first.length)).toEqual(first);
      expect(rows.slice(-2)).toEqual([`commit ${String(commits)}`, `drop ${String(commits - 2)}`]);
      expect(log.filter(({ fact }) => fact === 'drop')).toHaveLength(commits - 2);
      expect(acts.filter((act) => act === 'delete dropped')).toHaveLength(1);
      lengths.push(events);
    }
    const perCommit = (lengths[1]! - lengths[0]!) / 20;
    // Six of the watcher with its answer, six of the commit with its drop. The rest of a history varies by a few events, which are
    // shared out here. The design allows 12; page.test.ts counts what the run's own history has on top.
    expect(perCommit).toBeGreaterThan(11);
    expect(perCommit).toBeLessThan(13);
  });

  test('trains to its end though files of dropped commits cannot be deleted', async () => {
    const { log, acts } = await runOf({
      ...savingOneByOne(4),
      deleteDropped: () => Promise.reject(trainer('FactConflict', 'The store is broken.')),
    });
    expect(log.at(-2)).toMatchObject({ fact: 'commit', iteration: 4 });
    expect(acts).toContain('promote');
  });

  test.each([
    ['one', [20], 'stage in g3 from 10 host-b', [10]],
    ['two in a row', [20, 10], 'stage in g4 from 0 host-b', [10, 10]],
  ])('drops a commit that is damaged when it is restored, %s, and says what it costs', async (_, bad, act, lost) => {
    const fake = await start({
      trainRank: (input, _host, one) => {
        const saved = input.generation > 1 ? [30] : [10, 20];
        for (const iteration of saved) if (input.nodeRank === 0) one.save(input, iteration);
        return input.generation > 1 ? Promise.resolve({ iteration: 30 }) : Promise.reject(trainer('TrainerFailed'));
      },
      stageIn: (iteration, host) =>
        bad.includes(iteration) && host === 'host-b'
          ? Promise.reject(trainer('CheckpointDamaged', 'A shard is cut.'))
          : Promise.resolve(),
    });
    await fake.run('damaged');
    const drops = bad.flatMap((iteration) => ['open', `drop ${String(iteration)}`]);
    const log = fake.logOf('damaged');
    expect(log.map((fact) => (fact.fact === 'open' ? 'open' : `${fact.fact} ${String(fact.iteration)}`))).toEqual([
      ...['open', 'commit 10', 'commit 20', ...drops, 'open', 'commit 30'],
    ]);
    expect(fake.acts).toContain(act);
    const { incidents } = await fake.client.workflow
      .getHandle(trainWorkflowId('damaged'))
      .query<GangState>(QUERIES.gang);
    const damages = incidents.filter(({ failure }) => failure === 'CheckpointDamaged');
    expect(damages.map(({ host, iterationsLost }) => [host, iterationsLost])).toEqual(
      lost.map((iterations) => ['host-b', iterations]),
    );
    expect(damages[0]?.decision).toBe(
      'Drops the damaged commit of iteration 20; the commit before it is iteration 10: goes on from there.',
    );
  });

  test('drops its last commit when who reads it next finds it damaged, and trains again from the one before', async () => {
    let published = 0;
    const fake = await start({
      trainRank: (input, _host, one) => {
        for (const iteration of input.generation === 1 ? [20, 30] : [30])
          if (input.nodeRank === 0) one.save(input, iteration);
        return Promise.resolve({ iteration: 30 });
      },
      stage: (item) =>
        item === 'publish' && published++ === 0
          ? Promise.reject(trainer('ArtifactCorrupt', 'A shard has other bytes.'))
          : Promise.resolve(),
      damage: (digest) => (digest === 'g1-30' ? 'A shard has other bytes.' : undefined),
    });
    await fake.run('read-later');
    expect(
      fake
        .logOf('read-later')
        .map((fact) => `${fact.fact} ${fact.fact === 'open' ? '' : String(fact.iteration)}`.trim()),
    ).toEqual(['open', 'commit 20', 'commit 30', 'drop 30', 'open', 'commit 30']);
    expect(fake.acts).toContain('stage in g2 from 20 host-a');
    const train = fake.client.workflow.getHandle(trainWorkflowId('read-later'));
    expect((await train.query<GangState>(QUERIES.gang)).incidents).toMatchObject([
      { generation: 1, host: 'the store', failure: 'CheckpointDamaged', iterationsLost: 10 },
    ]);
  });

  test('steps back over damaged commits without spending the restarts that gain nothing', async () => {
    let failures = 0;
    const { log } = await runOf({
      trainRank: (input, _host, one) => {
        const { generation, nodeRank } = input;
        for (const iteration of [10, 20]) if (nodeRank === 0 && generation === 1) one.save(input, iteration);
        if (generation === 1 || (nodeRank === 0 && failures++ < 1)) return Promise.reject(trainer('TrainerFailed'));
        if (nodeRank === 0) one.save(input, 30);
        return Promise.resolve({ iteration: 30 });
      },
      stageIn: (iteration) =>
        iteration > 0 ? Promise.reject(trainer('CheckpointDamaged', 'A shard is cut.')) : Promise.resolve(),
    });
    expect(log.filter(({ fact }) => fact === 'open')).toHaveLength(5);
    expect(log.at(-1)).toMatchObject({ fact: 'commit', generation: 5, iteration: 30 });
  });

  test('does not repeat what the user has to put right', async () => {
    const fake = await start({ trainRank: () => Promise.reject(trainer('OutOfMemory', 'NPU out of memory.')) });
    const error: unknown = await fake.run('too-big').catch((thrown: unknown) => thrown);
    expect((error as WorkflowFailedError).cause).toMatchObject({ type: 'OutOfMemory' });
    expect(fake.logOf('too-big').filter(({ fact }) => fact === 'open')).toHaveLength(1);
  });

  test('gives its hosts back when the run is cancelled, after its trainers have ended', async () => {
    let ended = 0;
    const fake = await start({
      trainRank: async () => {
        try {
          for (;;) {
            Context.current().heartbeat();
            await Context.current().sleep(50);
          }
        } finally {
          ended += 1;
        }
      },
    });
    const handle = await fake.submit('cancelled');
    await expect.poll(() => fake.acts.filter((act) => act.startsWith('train')), { timeout: 20_000 }).toHaveLength(2);
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow();
    expect(ended).toBe(2);
    const owners = async (): Promise<unknown[]> => {
      const pool = fake.client.workflow.getHandle(poolWorkflowId(fake.name));
      return (await pool.query<PoolState>(QUERIES.pool)).hosts.map(({ owner, vacating }) => owner ?? vacating);
    };
    await expect.poll(owners, { timeout: 10_000 }).toEqual([null, null, null]);
  });

  test('waits for hosts that another run holds, and gets them when they are free', async () => {
    let isHeld = true;
    const fake = await start({
      opening: { hosts: 3 },
      trainRank: async (input, _host, one) => {
        while (input.runId === 'first' && isHeld) {
          Context.current().heartbeat();
          await Context.current().sleep(50);
        }
        if (input.nodeRank === 0) one.save(input, 30);
        return { iteration: 30 };
      },
    });
    const first = await fake.submit('first');
    await expect.poll(() => fake.acts.filter((act) => act.startsWith('train')), { timeout: 20_000 }).toHaveLength(3);
    const second = await fake.submit('second');
    const note = async (): Promise<string> =>
      (await second.query<RunState>(QUERIES.state)).stages.find(({ stage }) => stage === 'train')?.note ?? '';
    await expect
      .poll(note, { timeout: 20_000 })
      .toBe('Waits for 3 hosts with 1 cpu NPUs each: 0 free, 3 leased, 0 silent.');
    isHeld = false;
    await first.result();
    await second.result();
    expect(fake.acts.filter((act) => act.startsWith('train'))).toHaveLength(6);
  });
});

async function runOf(behaviour: Behaviour) {
  const fake = await start(behaviour);
  const result = await fake.run(fake.name);
  const { events } = await fake.client.workflow.getHandle(trainWorkflowId(fake.name)).fetchHistory();
  return { acts: fake.acts, log: fake.logOf(fake.name), result, events: events?.length ?? 0 };
}

/** A training with as many commits as it has iterations; the next save comes when the last one is committed. */
function savingOneByOne(iterations: number): Behaviour {
  return {
    opening: { iterations },
    trainRank: async (input, _host, fake) => {
      for (let iteration = 1; input.nodeRank === 0 && iteration <= iterations; iteration += 1) {
        fake.save(input, iteration);
        while (!fake.logOf(input.runId).some((fact) => fact.fact === 'commit' && fact.iteration === iteration)) {
          Context.current().heartbeat();
          await Context.current().sleep(10);
        }
      }
      return { iteration: iterations };
    },
  };
}
