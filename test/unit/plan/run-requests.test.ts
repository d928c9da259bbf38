/** What may be asked of a run in which state, and the sentences that say who asked for what. */
import { expect, test } from 'vitest';
import { refusePause, refuseResume, sayPaused, type Requests } from '../../../src/plan/run-requests.js';

const asked = { by: 'ada', why: 'the room is too warm', at: Date.UTC(2026, 10, 25, 18, 38, 49) };
const GOES: Requests = {};
const PAUSED: Requests = { paused: asked };
const STOPPING: Requests = { stopped: asked };

test.each<[string, Requests, (requests: Requests, runId: string) => string | undefined, string | undefined]>([
  ['pause of a run that goes', GOES, refusePause, undefined],
  [
    'pause of a paused run',
    PAUSED,
    refusePause,
    'The run "r" is already paused by ada since 2026-11-25 18:38:49 UTC: the room is too warm. "anneal resume r" lets it go on.',
  ],
  [
    'pause of a run that is being stopped',
    STOPPING,
    refusePause,
    'The run "r" cannot be paused: it is being stopped by ada at 2026-11-25 18:38:49 UTC: the room is too warm.',
  ],
  ['resume of a paused run', PAUSED, refuseResume, undefined],
  ['resume of a run that goes', GOES, refuseResume, 'The run "r" is not paused, so there is nothing to resume.'],
  [
    'resume of a run that is being stopped',
    STOPPING,
    refuseResume,
    'The run "r" cannot be resumed: it is being stopped by ada at 2026-11-25 18:38:49 UTC: the room is too warm.',
  ],
])('%s', (_, requests, refuse, sentence) => {
  expect(refuse(requests, 'r')).toBe(sentence);
});

test('a pause says by whom, since when and why', () => {
  expect(sayPaused(asked)).toBe('paused by ada since 2026-11-25 18:38:49 UTC: the room is too warm');
});
