/**
 * The one failure table. An activity answers one question: same host, same input, later: could it succeed? Yes is
 * retryable; all else is not, and the workflow decides.
 */
export const FAILURES = {
  SpecInvalid: { retryable: false, actor: 'user' },
  SourceNotFound: { retryable: false, actor: 'user' },
  SourceChanged: { retryable: false, actor: 'user' },
  DataRefused: { retryable: false, actor: 'user' },
  ConversionWrong: { retryable: false, actor: 'user' },
  OutOfMemory: { retryable: false, actor: 'user' },
  LossDiverged: { retryable: false, actor: 'user' },
  ChoiceRefused: { retryable: false, actor: 'user' },
  GateFailed: { retryable: false, actor: 'user' },
  ClusterTooSmall: { retryable: false, actor: 'user' },
  SourceUnavailable: { retryable: true, actor: 'nobody' },
  StoreUnavailable: { retryable: true, actor: 'nobody' },
  ArtifactCorrupt: { retryable: false, actor: 'workflow' },
  CheckpointPartial: { retryable: false, actor: 'workflow' },
  CheckpointDamaged: { retryable: false, actor: 'workflow' },
  FactConflict: { retryable: false, actor: 'workflow' },
  StaleGeneration: { retryable: false, actor: 'nobody' },
  HostBusy: { retryable: false, actor: 'workflow' },
  HostDirty: { retryable: false, actor: 'workflow' },
  SupervisorLost: { retryable: false, actor: 'workflow' },
  TrainerFailed: { retryable: false, actor: 'workflow' },
  PeerLost: { retryable: false, actor: 'workflow' },
  RefusedArguments: { retryable: false, actor: 'user' },
  CommandFailed: { retryable: false, actor: 'workflow' },
  Detached: { retryable: false, actor: 'workflow' },
  AgentRestarted: { retryable: true, actor: 'workflow' },
  NoHost: { retryable: true, actor: 'nobody' },
  Unexpected: { retryable: true, actor: 'nobody' },
  BudgetExhausted: { retryable: false, actor: 'user' },
} as const satisfies Record<string, { readonly retryable: boolean; readonly actor: 'user' | 'workflow' | 'nobody' }>;

export type FailureType = keyof typeof FAILURES;
