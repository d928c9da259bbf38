/** What people see of a run on a real server: its page, its event groups, its search attributes, and what a commit costs in events. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { describe, expect, test } from 'vitest';
import type { TrainProgress, TrainRankInput } from '../../src/contract/activities.js';
import { QUERIES, type RunState } from '../../src/contract/messages.js';
import { runWorkflowId, trainWorkflowId } from '../../src/contract/names.js';
import type { FakeCluster, Behaviour } from '../support/fake-cluster.js';
import { freshClusters } from '../support/fresh-clusters.js';
import { until, within } from '../support/until.js';
import { labelsOf } from '../support/worker-commands.js';

const LIMIT_MS = 60_000;
/** Where each task replays the whole history: 40 s alone. */
const REPLAYING_LIMIT_MS = 180_000;

const start = freshClusters('page');

/** The page as the Temporal UI asks for it. */
async function pageOf(fake: FakeCluster, workflowId: string): Promise<string> {
  const { currentDetails } = await fake.client.workflow
    .getHandle(workflowId)
    .query<{ readonly currentDetails: string }>('__temporal_workflow_metadata');
  return currentDetails;
}

const stateOf = (fake: FakeCluster, runId: string): Promise<RunState> =>
  fake.client.workflow.getHandle(runWorkflowId(runId)).query<RunState>(QUERIES.state);

/** A beat of a trainer, as its agent sends it. */
function beat({ generation }: TrainRankInput, host: string, progress: Partial<TrainProgress>): void {
  Context.current().heartbeat({
    ...{
      host,
      phase: 'training',
      generation,
      iteration: 0,
      iterations: 30,
      at: 0,
      quietSeconds: 0,
      shippedIteration: 0,
    },
    ...progress,
  } satisfies TrainProgress);
}

const EVERY = 10;
const COMMITS = 12;

/** Trains to the end, one save after the other, each made when the run's page has the one before. */
function steadily(isHeld: () => boolean = () => false): Behaviour {
  return {
    // On a busy machine a query may take seconds, and a trainer that is taken for silent would begin again.
    opening: { iterations: EVERY * COMMITS, timing: { heartbeatSeconds: 30, attachSeconds: 30 } },
    trainRank: async (input, host, fake) => {
      for (let iteration = EVERY; input.nodeRank === 0 && iteration <= EVERY * COMMITS; iteration += EVERY) {
        fake.save(input, iteration);
        await until(`the page has iteration ${String(iteration)}`, LIMIT_MS, async () => {
          beat(input, host, { iteration });
          const { gang } = await stateOf(fake, input.runId);
          return (gang?.committedIteration ?? 0) >= iteration ? true : undefined;
        });
      }
      if (input.nodeRank === 1)
        await until('every save is committed', LIMIT_MS, () => {
          beat(input, host, { iteration: 57, loss: 0.7, secondsPerIteration: 2 });
          const done = fake.logOf(input.runId).filter(({ fact }) => fact === 'commit').length;
          return done >= COMMITS && !isHeld() ? true : undefined;
        });
      return input.nodeRank === 1
        ? { iteration: EVERY * COMMITS, loss: 0.5, secondsPerIteration: 2 }
        : { iteration: EVERY * COMMITS };
    },
  };
}

test('a committed checkpoint costs at most twelve events in the gang, and five in the run', async () => {
  const fake = await start(steadily());
  await within('the run ends', LIMIT_MS, fake.run('events'));
  const eventsOf = async (workflowId: string) =>
    (await fake.client.workflow.getHandle(workflowId).fetchHistory()).events ?? [];
  const gang = (await eventsOf(trainWorkflowId('events'))).flatMap((event, index) =>
    event.activityTaskScheduledEventAttributes?.activityType?.name === 'watchSaves' ? [index] : [],
  );
  const run = (await eventsOf(runWorkflowId('events'))).flatMap((event, index) =>
    event.workflowExecutionSignaledEventAttributes ? [index] : [],
  );
  const widest = (indices: readonly number[]): number =>
    Math.max(...indices.slice(1).map((index, before) => index - (indices[before] ?? 0)));
  // One look more than commits: the last one finds nothing.
  expect(gang).toHaveLength(COMMITS + 1);
  expect(run.length).toBeGreaterThan(COMMITS);
  // Signals that are no commits (a phase, the end) may come with other events of the chain between them: the last ones are left out.
  // In the gang the first look shares its events with the launch of the ranks, and the last one with their ends.
  const costs = { gang: widest(gang.slice(1, COMMITS)), run: widest(run.slice(2, COMMITS)) };
  expect(costs.gang).toBeGreaterThan(3);
  expect(costs.gang).toBeLessThanOrEqual(12);
  expect(costs.run).toBeLessThanOrEqual(5);
});

describe('the page of a run', () => {
  test('shows stages, gang, iteration, loss, pace and the end while the training goes on', async () => {
    let isHeld = true;
    const fake = await start(steadily(() => isHeld));
    const handle = await fake.submit('live');
    const page = await until('the last commit is on the page', LIMIT_MS, async () => {
      const text = await pageOf(fake, handle.workflowId);
      return text.includes('120 of 120 iterations committed') ? text : undefined;
    });
    expect(page).toMatch(/^### Running/);
    expect(page).toMatch(/✔ fetch {4}█{20} {2}done/);
    expect(page).toMatch(/▶ train {4}█{20} {2}running since \d\d:\d\d:\d\d\s+host-a, host-b · generation 1/);
    expect(page).toMatch(/· evaluate ░{20} {2}waiting/);
    expect(page).toContain('generation 1 · training · host-a, host-b');
    expect(page).toMatch(
      /iteration 57 · loss 0\.7000 · 2\.00 s an iteration · 2 min 6 s left, done about \d\d:\d\d:\d\d/,
    );
    expect(page).toContain('**Cancel** and *anneal stop* end the run, *anneal pause* lets it wait');
    isHeld = false;
    await within('the run ends', LIMIT_MS, handle.result());
    const ended = await pageOf(fake, handle.workflowId);
    expect(ended).toMatch(/^### Ended: promoted/);
    expect(ended).toContain('iteration 120 · loss 0.5000');
    expect(ended).not.toContain('Cancel');
  });

  test(
    'tells what happened, what it cost and who went on, and lets no foreign text in as it is',
    async () => {
      const foreign = '<img src=x onerror=alert(1)>\n```\n# `big` &lt; <b>\u202Eevil';
      let restarts = 0;
      const fake = await start({
        // What does not replay fails here: news are sent while other nodes wait.
        replays: true,
        opening: { timing: { heartbeatSeconds: 30, attachSeconds: 30 } },
        trainRank: async (input, host, one) => {
          if (input.generation === 1) {
            if (input.nodeRank === 0) one.save(input, EVERY);
            await until('the first commit', LIMIT_MS, () => {
              beat(input, host, {});
              return one.logOf(input.runId).some(({ fact }) => fact === 'commit') ? true : undefined;
            });
            throw input.nodeRank === 1
              ? ApplicationFailure.create({
                  message: foreign,
                  type: 'TrainerFailed',
                  nonRetryable: true,
                  details: [{ iteration: EVERY + 7 }],
                })
              : ApplicationFailure.nonRetryable('A connection was closed.', 'PeerLost');
          }
          if (input.nodeRank === 1 && restarts++ === 0)
            throw ApplicationFailure.nonRetryable('The agent has restarted.', 'AgentRestarted');
          if (input.nodeRank === 0) one.save(input, 30);
          return input.nodeRank === 1 ? { iteration: 30, newIterationAt: Date.now() } : { iteration: 30 };
        },
      });
      const handle = await fake.submit('story');
      await within('the run ends', REPLAYING_LIMIT_MS, handle.result());
      const { gang } = await stateOf(fake, 'story');
      expect(gang?.incidents).toMatchObject([
        { generation: 1, host: 'host-b', failure: 'TrainerFailed', message: foreign, iterationsLost: 7 },
      ]);
      expect(gang?.incidents[0]?.secondsToNewIteration).toBeGreaterThan(0);
      expect(gang?.handovers).toMatchObject([
        { generation: 2, who: 'host-b', what: 'its agent was gone and is back', isHeard: true },
      ]);
      for (const workflowId of [handle.workflowId, trainWorkflowId('story')]) {
        const page = await pageOf(fake, workflowId);
        expect(page).toMatch(
          /g1 {2}host-b: TrainerFailed: ‹img src=x onerror=alert\(1\)› ''' # 'big' ＆lt; ‹b› evil\n/,
        );
        expect(page).toMatch(/7 iterations lost, decided in .*, new iterations after \d/);
        expect(page).toMatch(/g2 {2}host-b: its agent was gone and is back; its successor goes on, nothing lost/);
        expect(page).not.toMatch(/[<>\u202E]/);
        // Every fence stands alone on its line, and they come in pairs.
        expect(page.split('```').length % 2).toBe(1);
        expect(
          page
            .split('\n')
            .filter((line) => line.includes('```'))
            .every((line) => line === '```'),
        ).toBe(true);
      }
    },
    REPLAYING_LIMIT_MS,
  );
});

describe('event groups', () => {
  test('every command of a stage and of a generation carries its name', async () => {
    const fake = await start({});
    await within('the run ends', LIMIT_MS, fake.run('groups'));
    const commands = fake.commands.filter(({ kind }) =>
      ['scheduleActivity', 'scheduleLocalActivity', 'startTimer', 'startChildWorkflowExecution'].includes(kind),
    );
    expect(commands.filter(({ groups }) => groups.length === 0).map(({ kind }) => kind)).toEqual(
      // The pool's watcher is no part of a stage.
      commands.filter(({ groups }) => groups.length === 0).map(() => 'scheduleActivity'),
    );
    const named = new Set(commands.flatMap(({ groups }) => groups));
    const stages = ['fetch', 'convert', 'prepare', 'train', 'publish', 'evaluate'].map((stage) => `stage ${stage}`);
    expect([...named].sort()).toEqual([...stages, 'generation 1', 'opening', 'promotion'].sort());
    // Signals to the pool, too.
    expect(
      fake.commands.filter(({ kind }) => kind === 'signalExternalWorkflowExecution').map(({ groups }) => groups),
    ).toContainEqual(['stage train', 'generation 1']);

    const { serverVersion } = await fake.client.workflowService.getSystemInfo({});
    const [, minor = 0] = serverVersion.split('.').map(Number);
    const { events } = await fake.client.workflow.getHandle(runWorkflowId('groups')).fetchHistory();
    const kept = (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: asked, eventGroupMarkers }) =>
      asked ? [labelsOf(eventGroupMarkers)] : [],
    );
    expect(kept.length).toBeGreaterThan(10);
    // Kept since 1.32; the day on which the pinned server keeps them this line says so.
    expect(kept.every((labels) => labels.length === (minor >= 32 ? 1 : 0))).toBe(true);
  });
});

describe('search attributes', () => {
  test('find a run and its gang by stage, model, cluster, hosts, generation and iteration, and then by its outcome', async () => {
    let isHeld = true;
    const fake = await start(steadily(() => isHeld));
    const handle = await fake.submit('found');
    const found = async (query: string): Promise<readonly string[]> => {
      const ids: string[] = [];
      for await (const { workflowId } of fake.client.workflow.list({ query })) ids.push(workflowId);
      return ids.sort();
    };
    const both = [runWorkflowId('found'), trainWorkflowId('found')];
    const run = [runWorkflowId('found')];
    const soon = (query: string, ids: readonly string[]) =>
      until(`"${query}" finds ${ids.join(', ')}`, LIMIT_MS, async () =>
        JSON.stringify(await found(query)) === JSON.stringify(ids) ? true : undefined,
      );
    await soon(`AnnealRun = 'found' AND AnnealIteration = ${String(EVERY * COMMITS)} AND AnnealOutcome IS NULL`, run);
    await soon(
      `AnnealRun = 'found' AND AnnealName = 'test' AND AnnealModel = 'digits' AND AnnealCluster = '${fake.name}'`,
      both,
    );
    await soon(`AnnealRun = 'found' AND AnnealStage = 'train' AND AnnealGeneration = 1`, both);
    await soon(`AnnealRun = 'found' AND AnnealHosts IN ('host-b')`, both);
    isHeld = false;
    await within('the run ends', LIMIT_MS, handle.result());
    await soon(`AnnealRun = 'found' AND AnnealOutcome = 'promoted' AND AnnealStage = 'evaluate'`, run);
  });
});
