/**
 * The one table of failures, as data: what a failure means, who acts next, and what a gang does whose root it is. docs/failures.md is made
 * from it (`npm run docs:failures`). Rules that read a trainer's words only say which row of this table they mean.
 */

/** How near to the cause a node's failure is, the nearest first: of a broken gang the nearest is the root, the others are its echoes. */
export const EVIDENCE = [
  /** Another writer has this run's log: nothing else counts any more. */
  'fenced',
  /** Nobody answers for the host: whatever the others say comes of it. */
  'host lost',
  /** Something of the host itself. */
  'host',
  /** A cause that names itself. */
  'cause',
  /** It ended by itself, and may well not be the only one. */
  'failed',
  /** It did not end: a dead peer would explain it. */
  'unclear',
  /** It lost somebody else. */
  'echo',
  /** We stopped it, after another one's end. */
  'stopped',
] as const;
export type Evidence = (typeof EVIDENCE)[number];

export type GangAction =
  /** Another generation goes on from the last commit. */
  | 'again'
  /** The commit that was to be restored is damaged: the one before it is next. */
  | 'one commit back'
  /** What the gang reads is damaged: what it is made from has to be made again first. */
  | 'make again'
  /** Any host would meet it again: the user has to act. */
  | 'stop'
  /** This writer ends at once. */
  | 'yield';

export interface FailureClass {
  /** Same host, same input, later: could it succeed? Only then may Temporal's server retry by itself. */
  readonly retryable: boolean;
  readonly actor: 'user' | 'workflow' | 'nobody';
  /** These two are of failures that a node of a gang can meet. */
  readonly evidence?: Evidence;
  readonly gang?: GangAction;
  /**
   * No spec can cause it: it speaks against the host. `again`: the second time within a day sets it apart, since once may be chance;
   * `once`: it was looked at and found unfit.
   */
  readonly hostFault?: 'again' | 'once';
  /** Only when no other host says the same at the same time: then it is the software's, or of what they share. */
  readonly ifAlone?: true;
  /** For people, with Markdown: what is seen and why, what the engine has done, and what to do. */
  readonly symptom: string;
  readonly engine: string;
  readonly remedy: string;
}

/** What an activity may throw. */
export const FAILURES = {
  SpecInvalid: {
    retryable: false,
    actor: 'user',
    evidence: 'cause',
    gang: 'stop',
    symptom:
      'The spec cannot be planned, or a source holds something that no store accepts, such as a symbolic link or a name with a control character.',
    engine: 'Ended the run. `anneal submit` finds the first kind before anything starts.',
    remedy: 'Change what the sentence names.',
  },
  SourceNotFound: {
    retryable: false,
    actor: 'user',
    symptom:
      'The folder of a `file://` source is missing or empty on the host, or an HTTP server answered that a file is not there or may not be read; or a save folder to begin from (`training.initFrom`) has no tracker, or one that names no whole iteration.',
    engine: 'Tried each live host once, four at most, since a folder may lie on another one.',
    remedy: 'Correct `uri` or `files`, or bring the folder to the hosts.',
  },
  SourceChanged: {
    retryable: false,
    actor: 'user',
    symptom:
      'A downloaded file has another SHA-256 than `files[].sha256` says; or the source changed between the look at it and the end of its fetch. A folder that lies as a copy on another host, with other times of change, counts as changed.',
    engine: 'Ended the run; the bytes are not used. A schedule tries again at its next time.',
    remedy: 'Correct the digest, or get the file that was meant; start the run again when nobody writes to the source.',
  },
  DataRefused: {
    retryable: false,
    actor: 'user',
    symptom: '`prepare` found more unusable rows than `data.maximumBadRows`, no usable row, or no data set.',
    engine: 'Ended the run with the sentence of the tool: counts by reason and the first rows with file and line.',
    remedy:
      "Repair the rows, or allow more. The report `runs/<run id>/prepare/report.json` in the host's work root names up to 20 rows per reason.",
  },
  ConversionWrong: {
    retryable: false,
    actor: 'user',
    symptom:
      "Before the converter: the model's index or a shard is missing or damaged. After it, although it ended with exit code 0: a rank folder, a tensor or parameters are missing, or something is there that the plan does not have.",
    engine: 'Ended the run; nothing was stored.',
    remedy:
      'Before: fetch the model again, whole. After: the sentence names folder and tensor; report it with the log of the stage.',
  },
  OutOfMemory: {
    retryable: false,
    actor: 'user',
    evidence: 'cause',
    gang: 'stop',
    symptom: 'A rank ran out of NPU or host memory.',
    engine: 'Stopped the gang and did not start it again: the same would happen on any host.',
    remedy: 'Use a smaller `microBatchSize` or `sequenceLength`, or more stages or tensor parallel ranks.',
  },
  OutOfHostMemory: {
    retryable: false,
    actor: 'workflow',
    evidence: 'cause',
    gang: 'again',
    symptom:
      "The kernel killed a rank, a worker of its data, the launcher, the supervisor, or the program of a stage, for want of memory of the host, by its own log or by the count of the agent's control group.",
    engine:
      'Opened the next generation from the last commit, since what took the memory may be gone or grow slowly. It counts against no host. Three in a row without a commit in between end the run. A stage was tried elsewhere, as after `CommandFailed`.',
    remedy:
      'Give the trainer more memory, or let it use less: fewer data workers, a smaller ACLNN_CACHE_LIMIT, less pinned memory; and look at what else runs on that host. The evidence of the incident has the lines of the kernel (`kernel.log`). What a conversion needs: `anneal plan`.',
  },
  LossDiverged: {
    retryable: false,
    actor: 'user',
    evidence: 'cause',
    gang: 'stop',
    symptom: 'The loss, or the gradient norm, is no number any more, and it was the same again after a step back.',
    engine:
      'The first time it went back to the newest commit before the bad iteration in which every number is finite, and left out the host where it began, if another was free. Past the bad iteration without that host, it cordoned the host, for good and with that reason. The same again before any commit got past it ended the run: the sentence names both iterations, losses and gangs. A trainer that goes on amid NaNs is stopped.',
    remedy:
      'Lower `learningRate`, or look at the rows that this iteration reads. If both times were on the same hosts and you suspect one, cordon it and submit the run again.',
  },
  ChoiceRefused: {
    retryable: false,
    actor: 'user',
    symptom:
      '`anneal models promote` or `rollback` named a run without a published model, a promotion that is not there, or what is current already.',
    engine: 'Wrote nothing.',
    remedy:
      'Look at `anneal models show MODEL` and `anneal runs`. A run that was never promoted can be promoted by hand only while Temporal knows it (its retention time).',
  },
  GateFailed: {
    retryable: false,
    actor: 'user',
    symptom:
      'The evaluation ended without an accuracy or a weights digest, so there is nothing to judge. A result *below* the gate is no failure: the run ends as `rejected`.',
    engine: 'Ended the run.',
    remedy: 'Look at the log of `evaluate`.',
  },
  ClusterTooSmall: {
    retryable: false,
    actor: 'user',
    symptom:
      "The spec's layout needs more hosts of its runtime, with as many NPUs, than have ever registered with the cluster: live, silent and cordoned ones together.",
    engine:
      'Waited a minute after the last new host, since agents may just be starting (`NoHost` meanwhile), then ended the run before anything else was done.',
    remedy: 'Lay the run out on fewer hosts, or start more agents.',
  },
  SourceUnavailable: {
    retryable: true,
    actor: 'nobody',
    symptom:
      "A source's server does not answer, a download gave up after five attempts in a row without a new byte, or a disk takes no more.",
    engine:
      'Up to 20 attempts on the host, at most a minute apart: a quarter of an hour. Then the run ends. A download goes on from where it was.',
    remedy: 'Bring the source back.',
  },
  StoreUnavailable: {
    retryable: true,
    actor: 'nobody',
    symptom:
      "The store cannot be read or written: its disk is away, full, read-only, or has too few file handles; on S3, the server does not answer, the bucket is not there, the credentials are not taken, or the store turned out not to fence; or the host's own disk cannot take a copy from it.",
    engine:
      'Stages, staging in, look-ups and commits are repeated until the store is back. Shipping of saves and logs goes on trying beside the training, which does not notice.',
    remedy: 'Bring the store back; nothing else.',
  },
  ArtifactCorrupt: {
    retryable: false,
    actor: 'workflow',
    evidence: 'cause',
    gang: 'make again',
    symptom: 'A file of an artifact in the store is missing or has other bytes than its manifest says.',
    engine:
      'Went through the chain again, up to three times in all; each look-up hashes what is there, and what is damaged is made anew. Inside a gang it ends the gang first; the next one goes on from the last commit.',
    remedy:
      "If it comes back, check the disk of the store. If it comes from `publish` and names a checkpoint, the run's *last* commit is damaged, and that run cannot make it again: submit the spec anew, under another id.",
  },
  CheckpointPartial: {
    retryable: false,
    actor: 'workflow',
    evidence: 'failed',
    gang: 'again',
    symptom:
      "A save is not whole: its files are not those of the plan, or not what the nodes' manifests say; or all ranks ended well and the last iteration is not complete in the store.",
    engine: 'Did not commit it. Ended the generation and opened the next from the last commit.',
    remedy: "Look at the trainer's log; check the disk of the store.",
  },
  CheckpointDamaged: {
    retryable: false,
    actor: 'workflow',
    evidence: 'cause',
    gang: 'one commit back',
    symptom:
      'The commit to go on from is damaged: a file is missing in the store or has other bytes than its manifest says, or the trainer could not load it; or, looked through after a NaN, it holds numbers that are not finite.',
    engine:
      "Wrote a `drop` for this commit into the run's log and began the next generation one commit back; from iteration 0 if it was the only one. The incident says how many iterations are trained again. Without any commit: another generation.",
    remedy: 'Check the disk of the store. The damaged files are still there.',
  },
  FactConflict: {
    retryable: false,
    actor: 'workflow',
    evidence: 'fenced',
    gang: 'yield',
    symptom: 'A create-once fact has another body: another spec under the same run id, or two writers of one run.',
    engine: 'Ended the writer: a commit that meets it stops its gang, and the run ends. Nothing was overwritten.',
    remedy: 'Give the run another key. If you did not reuse one, two clusters may share a store and a run id.',
  },
  StaleGeneration: {
    retryable: false,
    actor: 'nobody',
    evidence: 'stopped',
    gang: 'again',
    symptom:
      "Work came under a lease that is over: the host has seen a higher fence number, from the next lease or from being taken back. Or a trainer was stopped after another node's end: an echo.",
    engine:
      'Refused the work: that is the fence at work. In a gang it is never the root while another failure is there; alone it counts as a broken generation.',
    remedy:
      "Nothing. If it comes again and again, the pool has lost its count with Temporal's database: restart the host's agent, which brings the highest number that the host has seen.",
  },
  HostBusy: {
    retryable: false,
    actor: 'workflow',
    evidence: 'failed',
    gang: 'again',
    symptom:
      "Another trainer holds the host's lock. The pool grants no host that was not proven empty, so somebody else has started it.",
    engine:
      'Waited and asked again every 15 s, for 11 minutes: a little longer than a lease by default. An older generation of the same run is stopped at once.',
    remedy:
      'Nothing, if it passes; longer ends the generation. The sentence names the folder of the trainer that holds it.',
  },
  HostDirty: {
    retryable: false,
    actor: 'workflow',
    evidence: 'host',
    gang: 'again',
    hostFault: 'again',
    symptom:
      "A process survived SIGKILL for 10 s, usually in a driver; or somebody holds the host's lock that no trainer's folder tells of.",
    engine:
      'Ended the generation, if there was one. The pool does not grant the host: it asks it every two minutes, and as soon as its agent is started anew, to prove itself empty. Twice in 24 hours sets it apart for a day.',
    remedy:
      'Stop the agent of that host, restart the machine, start the agent: it is proven empty and free again. `anneal hosts show HOST` says what is left.',
  },
  SupervisorLost: {
    retryable: false,
    actor: 'workflow',
    evidence: 'host',
    gang: 'again',
    hostFault: 'again',
    symptom: 'The supervisor of a trainer was killed, and its trainer died with it.',
    engine:
      'Ended what was left of the trainer and opened the next generation. It counts against the host: twice in 24 hours sets it apart for a day.',
    remedy:
      'Find out who killed it: an operator, or the kernel for want of memory where neither its log nor the count of the control group could be read.',
  },
  HostBroken: {
    retryable: false,
    actor: 'workflow',
    evidence: 'host',
    gang: 'again',
    hostFault: 'once',
    ifAlone: true,
    symptom:
      'A chip or its driver has failed in a way that does not pass, by the words of the trainer or of CANN: memory errors of several bits (507054), a task scheduler that is dead (507010), a channel to the chip that is gone (507901), a driver that gives no access.',
    engine:
      'Set the host apart for a day with that reason (two hosts a run at most), and opened the next generation without it if others are free. When several hosts say the same at once, none is set apart.',
    remedy:
      'Do what the sentence advises, and look at `anneal doctor` on that host: reset or repair it, then `anneal hosts uncordon HOST`.',
  },
  HostSuspect: {
    retryable: false,
    actor: 'workflow',
    evidence: 'host',
    gang: 'again',
    hostFault: 'again',
    ifAlone: true,
    symptom:
      'Something of one host failed that may pass: a memory error, a port or a link that is down, a chip or a port that something else holds, a kernel that failed, an error of the driver or of a disk.',
    engine:
      'Opened the next generation from the last commit. It counts against the host, unless several hosts say the same at once: twice in 24 hours sets it apart for a day.',
    remedy: 'Nothing, if it passes. The sentence quotes the line that decided and says where to look.',
  },
  HostFull: {
    retryable: false,
    actor: 'workflow',
    evidence: 'cause',
    gang: 'again',
    symptom: 'A disk or the shared memory of a host has no room left.',
    engine:
      'Opened the next generation from the last commit. A host that is still full is found by the look before the launch (`HostUnfit`). A stage is tried on another host, as for `CommandFailed`.',
    remedy: 'Make room on that host: `anneal doctor` there names the folder.',
  },
  LinkFailed: {
    retryable: false,
    actor: 'workflow',
    evidence: 'unclear',
    gang: 'again',
    symptom:
      'A transfer between two NPUs failed for good: a link, or a peer that had died. So any failure that tells of an end comes before it.',
    engine: 'Opened the next generation from the last commit. It counts against no host.',
    remedy: 'If it comes back between the same two hosts, look at the links that the sentence names.',
  },
  SetupWrong: {
    retryable: false,
    actor: 'user',
    evidence: 'cause',
    gang: 'stop',
    symptom:
      'The trainer was set up in a way that cannot work: addresses or a rank table that do not fit the hosts, versions of CANN that differ, ranks that do not run the same, a package or library that is missing, a setting or an argument that CANN refuses.',
    engine: 'Stopped the gang and did not start it again.',
    remedy: 'Put right what the sentence names, on all hosts; then submit the spec again.',
  },
  TrainerFailed: {
    retryable: false,
    actor: 'workflow',
    evidence: 'failed',
    gang: 'again',
    symptom:
      'The trainer ended with an error, was killed, could not be started, or ended well without its last save in the store.',
    engine: 'Opened the next generation from the last commit.',
    remedy: 'Nothing, if it passes. The sentence quotes the line that decided.',
  },
  Hung: {
    retryable: false,
    actor: 'workflow',
    evidence: 'unclear',
    gang: 'again',
    symptom:
      'The trainer lives and makes no progress: no new iteration, or no end of a start or a save, within the limit of its phase (`limits` in the spec; for iterations ten times what they took so far, and two minutes at least). A rank that waits for ever, or a host or a link that has stalled.',
    engine:
      'Wrote the stacks of all ranks into the logs of the run, or why there are none; then stopped the gang and opened the next generation from the last commit.',
    remedy: 'Read the stacks: `anneal logs RUN --stage train`. If the trainer was only slow, raise `limits`.',
  },
  PeerLost: {
    retryable: false,
    actor: 'workflow',
    evidence: 'echo',
    gang: 'again',
    symptom: "A rank lost its connection to another one: an echo of somebody else's death.",
    engine: "Looked for the root among the other nodes' failures; alone, it counts as a failed generation.",
    remedy: 'Nothing, or check the network between the hosts.',
  },
  RefusedArguments: {
    retryable: false,
    actor: 'user',
    evidence: 'cause',
    gang: 'stop',
    symptom: 'The trainer refused its command line.',
    engine: 'Stopped the gang.',
    remedy: 'The plan and the installed trainer do not fit: check the release that is installed on the hosts.',
  },
  CommandFailed: {
    retryable: false,
    actor: 'workflow',
    symptom:
      "A stage's program ended with an exit code other than 0 (and 3, which is `DataRefused`), could not be started, or wrote no report that can be read.",
    engine:
      'Tried the stage on another host; when every live host was tried, each gets a second chance; four tries in all, then the run ends. `evaluate`: another lease, three in all.',
    remedy: '`anneal logs RUN --stage STAGE` has its words.',
  },
  Detached: {
    retryable: false,
    actor: 'workflow',
    symptom: 'The agent let go of a living trainer: the server no longer knew its attempt, or it was reset.',
    engine: 'Scheduled the same work again in the same generation; the next attempt adopts the trainer.',
    remedy: 'Nothing.',
  },
  AgentRestarted: {
    retryable: true,
    actor: 'workflow',
    symptom: 'An agent was killed and has started again; it ended the attempts that were open by itself.',
    engine:
      'Trainer: scheduled the same work again in the same generation; no iteration is lost. Stage: the server repeats it on the host within seconds.',
    remedy: 'Nothing, if it passes.',
  },
  NoHost: {
    retryable: true,
    actor: 'nobody',
    symptom: 'No live host has the wanted runtime.',
    engine: 'Waits and looks again, for as long as it takes.',
    remedy: 'Start an agent, or look at `anneal hosts`.',
  },
  Unexpected: {
    retryable: true,
    actor: 'nobody',
    symptom: 'An error that the table does not foresee: a fault of ours, or of the machine.',
    engine: "Tried five times, then the run ends with the error's own words.",
    remedy: 'Read the sentence; if it is not about your machine, please report it.',
  },
  BudgetExhausted: {
    retryable: false,
    actor: 'user',
    symptom: 'Three restarts in a row gained no checkpoint. Restarts that gained one are free.',
    engine: "Ended the run. The failure's details hold the last ten incidents.",
    remedy: "Read the incidents: the sentence names the last one's host and cause.",
  },
} as const satisfies Record<string, FailureClass>;

export type FailureType = keyof typeof FAILURES;

/** What stands where an activity could not report a failure itself: Temporal tells it, or the gang. */
export const OBSERVED = {
  Silent: {
    evidence: 'unclear',
    gang: 'again',
    symptom:
      'No heartbeat within the limit (20 s for a trainer, staging in and `evaluate`, a minute for other stages, 10 s for the watchers on the control queue).',
    engine:
      'Trainer: the same work again in the same generation, up to 20 times. Stage: the server repeats it on the host; if nobody takes it up there, `NotPickedUp`. Watcher: another control worker takes it up.',
  },
  NotPickedUp: {
    evidence: 'unclear',
    gang: 'again',
    symptom:
      'The agent did not take work up in time: a minute for a stage, 20 s for `evaluate`, 8 s where a gang waits for its launch; of a trainer that runs, `attachSeconds`.',
    engine:
      'Stage: another host; `evaluate`: another lease. In a gang: all its hosts are asked for a sign of life, and this one counts as lost if others answer and it does not; else the same work is scheduled again.',
  },
  HostLost: {
    evidence: 'host lost',
    gang: 'again',
    hostFault: 'again',
    symptom:
      'The host did not answer within seconds when all hosts of the gang were asked for a sign of life: after the end of a node, or when its agent did not take work up, also before the launch.',
    engine:
      'Did not wait for it, and opened the next generation. It counts against the host: twice in 24 hours sets it apart for a day. Whatever still runs there ends with its lease and can change nothing.',
  },
  HostUnfit: {
    evidence: 'host',
    gang: 'again',
    hostFault: 'once',
    symptom:
      'The look at the hosts before a launch found something on this one, and not on all others, with which a training would fail or be wrong: a chip that is missing, sick or held by a stranger, a link that is down, a runtime without its packages, a full disk, a clock that is minutes off, no way to the store; or a driver, firmware, CANN, torch or TLS switch other than that of more than half of them. The sentence has the rule and the remedy.',
    engine:
      'Launched nothing, set the host apart for a day with that reason (two hosts a run at most), and opened the next generation without it if others are free. A store that no host of the gang reaches is waited for instead.',
  },
  GangUnfit: {
    evidence: 'cause',
    gang: 'again',
    symptom:
      'The look at the hosts before a launch found the same on every host of the gang, versions of which no more than half of the hosts have the same, or chips of two kinds, so it speaks against none of them.',
    engine:
      'Launched nothing, cordoned nobody, and opened the next generation on other hosts if some are free. The third time in a row ends the run.',
  },
  AllSilent: {
    evidence: 'unclear',
    gang: 'again',
    symptom:
      'No host of the gang answered, again and again for ten minutes: a fault between them and Temporal rather than of all hosts.',
    engine:
      'Waited, since breaking the gang would gain nothing: an answer within the ten minutes, and it goes on as before. Then it opened the next generation. It counts against no host.',
  },
  TimedOut: {
    evidence: 'unclear',
    gang: 'again',
    symptom: 'An activity took longer than its whole limit (24 hours for a stage).',
    engine: 'Stage: the server repeats it. Gang: the next generation.',
  },
  Drained: {
    evidence: 'stopped',
    gang: 'again',
    symptom: "An operator has drained one of the gang's hosts: nobody's failure.",
    engine:
      'The gang saved, gave its hosts back, and goes on with others from that commit. It counts against no budget and no host.',
  },
  Stopped: {
    evidence: 'stopped',
    gang: 'again',
    symptom: 'A node was stopped because another one had failed: an echo.',
    engine: 'Never taken as the root while there is another failure.',
  },
  Unknown: {
    evidence: 'unclear',
    gang: 'again',
    symptom: 'An error without a type of ours.',
    engine: "From a trainer's node: the next generation. Elsewhere the run ends. Please report it.",
  },
} as const satisfies Record<string, Omit<FailureClass, 'retryable' | 'actor' | 'remedy'>>;

/** What a gang makes of a failure. One that the table does not know, or that a gang should never meet, says nothing and is worth another try. */
export function gangClass(type: string): {
  readonly evidence: Evidence;
  readonly gang: GangAction;
  readonly hostFault: FailureClass['hostFault'] | null;
  readonly ifAlone: boolean;
  readonly remedy: string;
} {
  const row: Partial<FailureClass> | undefined = Object.hasOwn(FAILURES, type)
    ? FAILURES[type as FailureType]
    : Object.hasOwn(OBSERVED, type)
      ? OBSERVED[type as keyof typeof OBSERVED]
      : undefined;
  const { evidence = 'unclear', gang = 'again', hostFault = null, ifAlone = false, remedy = '' } = row ?? {};
  return { evidence, gang, hostFault, ifAlone, remedy };
}
