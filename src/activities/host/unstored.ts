/** What a stage has made on this host and could not store yet: a store that is away costs the transfer again, not the work. */
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import type { StageInput, StageResult } from '../../contract/activities.js';
import type { StagePlan } from '../../plan/plan.js';
import { bootId } from '../../process/proc.js';
import { readJson, replaceFile } from '../../process/trainer-files.js';
import { digestOf } from '../../storage/hashing.js';

type Facts = StageResult['facts'];

const Made = z.object({ key: z.string(), facts: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])) });

export class Unstored {
  readonly #file: string;
  readonly #key: string;

  /** `work` is the stage's folder, with what the plan makes of the inputs. */
  constructor(work: string, plan: StagePlan, inputs: StageInput['inputs']) {
    this.#file = `${work}.made.json`;
    // The programs of a stage sync nothing: what they wrote before a power cut may be half on the disk.
    this.#key = digestOf({ plan, inputs, boot: bootId() });
  }

  /** What an earlier attempt has found of the same work, done; undefined when it must be done. */
  async find(): Promise<Facts | undefined> {
    const made = await readJson(this.#file, Made);
    return made?.key === this.#key ? made.facts : undefined;
  }

  /** The work is done and was checked; nothing of it is stored. */
  async keep(facts: Facts): Promise<Facts> {
    await replaceFile(this.#file, JSON.stringify({ key: this.#key, facts }));
    return facts;
  }

  /** Before the folder changes, and when it is stored: what is damaged there later is made anew. */
  async forget(): Promise<void> {
    await rm(this.#file, { force: true });
  }
}
