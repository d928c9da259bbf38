/** Temporal's runtime for tests: only errors are printed, since every expected failure would else fill the screen. */
import { DefaultLogger, makeTelemetryFilterString, Runtime } from '@temporalio/worker';

let isInstalled = false;

/** Call before the first worker; once per process counts. */
export function quietRuntime(): void {
  if (isInstalled) return;
  isInstalled = true;
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    // Tests that judge liveness by these beats must not wait a minute for one.
    workerHeartbeatInterval: '2 seconds',
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) } },
  });
}
