/** One root among many echoes, and whether another generation is worth its hosts. */
import { expect, test } from 'vitest';
import { judge, rootCause, RESTARTS_WITHOUT_PROGRESS, type NodeFailure } from '../../../src/plan/verdict.js';

const failed = (host: string, type: string, since?: number): NodeFailure => ({
  host,
  nodeRank: 0,
  type,
  message: `${type} on ${host}`,
  ...(since === undefined ? {} : { since }),
});

test.each([
  ['the rank that died, not those that lost it', [failed('a', 'PeerLost'), failed('b', 'TrainerFailed')], 'b'],
  ['the lost host before anything else', [failed('a', 'TrainerFailed'), failed('b', 'HostLost')], 'b'],
  ['not a node that was stopped with the gang', [failed('a', 'Stopped'), failed('b', 'SupervisorLost')], 'b'],
  ['not a trainer that we ended after another', [failed('a', 'StaleGeneration'), failed('b', 'TrainerFailed')], 'b'],
  ['the first, when all are echoes', [failed('a', 'PeerLost'), failed('b', 'PeerLost')], 'a'],
  ['the earlier echo of two', [failed('a', 'PeerLost', 9), failed('b', 'PeerLost', 7)], 'b'],
  ['the earlier of two trainers that failed', [failed('a', 'TrainerFailed', 9), failed('b', 'TrainerFailed', 7)], 'b'],
  ['the one whose moment is known', [failed('a', 'TrainerFailed'), failed('b', 'TrainerFailed', 7)], 'b'],
  ['a cause that names itself', [failed('a', 'TrainerFailed', 1), failed('b', 'OutOfMemory', 7)], 'b'],
  ['a supervisor that was killed', [failed('a', 'TrainerFailed', 1), failed('b', 'SupervisorLost')], 'b'],
  ['a dead trainer, not the one that waits for it', [failed('a', 'Hung', 1), failed('b', 'TrainerFailed', 7)], 'b'],
  ['an echo only after what hangs', [failed('a', 'PeerLost', 1), failed('b', 'Hung', 7)], 'b'],
  [
    'the chip that failed, though all others lost it before it could say so',
    [
      failed('a', 'PeerLost', 1),
      failed('b', 'LinkFailed', 2),
      failed('c', 'StaleGeneration'),
      failed('d', 'HostBroken', 9),
    ],
    'd',
  ],
  [
    'a trainer that died, not the lost packet of its peer',
    [failed('a', 'LinkFailed', 1), failed('b', 'TrainerFailed', 7)],
    'b',
  ],
  ['a lost packet before a connection that was reset', [failed('a', 'PeerLost', 1), failed('b', 'LinkFailed', 7)], 'b'],
  ['another writer of the log before all', [failed('a', 'HostLost', 1), failed('b', 'FactConflict')], 'b'],
])('the root cause is %s', (_, failures, host) => {
  expect(rootCause(failures)?.host).toBe(host);
});

test('no failure has no root', () => {
  expect(rootCause([])).toBeUndefined();
});

test.each([
  ['TrainerFailed', 0, 'again'],
  ['TrainerFailed', RESTARTS_WITHOUT_PROGRESS - 1, 'again'],
  ['TrainerFailed', RESTARTS_WITHOUT_PROGRESS, 'give up'],
  ['HostLost', 1, 'again'],
  ['HostBroken', 1, 'again'],
  ['HostSuspect', 1, 'again'],
  ['LinkFailed', RESTARTS_WITHOUT_PROGRESS, 'give up'],
  ['SetupWrong', 0, 'give up'],
  ['Hung', 1, 'again'],
  ['Hung', RESTARTS_WITHOUT_PROGRESS, 'give up'],
  ['no type of ours', 1, 'again'],
  ['CheckpointDamaged', RESTARTS_WITHOUT_PROGRESS, 'one commit back'],
  ['ArtifactCorrupt', 0, 'give up'],
  ['FactConflict', 0, 'give up'],
  ['OutOfMemory', 0, 'give up'],
  ['LossDiverged', 0, 'give up'],
  ['RefusedArguments', 0, 'give up'],
])('%s after %i restarts without progress: %s', (type, restarts, decision) => {
  expect(judge(failed('a', type), restarts, { from: 20, to: 10 }).decision).toBe(decision);
});

test('a first generation that finds no checkpoint has no commit to go back from, so its budget ends it', () => {
  expect(judge(failed('a', 'CheckpointDamaged'), 0).decision).toBe('again');
  expect(judge(failed('a', 'CheckpointDamaged'), RESTARTS_WITHOUT_PROGRESS).decision).toBe('give up');
});

test.each([
  [10, 'the commit before it is iteration 10: goes on from there'],
  [0, 'no commit is left before it: starts from the converted model'],
])('a step back says where it leads: to %i', (to, sentence) => {
  expect(judge(failed('a', 'CheckpointDamaged'), 0, { from: 20, to }).why).toBe(
    `Drops the damaged commit of iteration 20; ${sentence}.`,
  );
});

test.each([
  ['HostBroken', ', without a if others are free.'],
  ['HostUnfit', ', without a if others are free.'],
  ['HostSuspect', 'from the last committed checkpoint.'],
  ['TrainerFailed', 'from the last committed checkpoint.'],
])('after %s the next generation begins %s', (type, words) => {
  expect(judge(failed('a', type), 0).why).toMatch(new RegExp(`^Starts a new generation .*${words}$`));
});

test('who has to act is told what to do', () => {
  expect(judge(failed('a', 'OutOfMemory'), 0).why).toMatch(/OutOfMemory on a Use a smaller `microBatchSize`/);
  expect(judge(failed('a', 'HostDirty'), RESTARTS_WITHOUT_PROGRESS)).toMatchObject({
    type: 'BudgetExhausted',
    why: expect.stringMatching(/3 restarts in a row .* HostDirty on a Stop the agent of that host/) as string,
  });
});
