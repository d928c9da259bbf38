/** What `anneal plan` prints of the forecast of an Ascend run, and the numbers that it takes. */
import { describe, expect, test } from 'vitest';
import { forecast } from '../../../src/backends/forecast/forecast.js';
import type { Given } from '../../../src/backends/forecast/given.js';
import { jobOf } from '../../../src/backends/job-of.js';
import { readGiven } from '../../../src/cli/given.js';
import { showForecast } from '../../../src/cli/show-forecast.js';
import { publishedInput, specOf } from '../backends/specs.js';

describe('--given', () => {
  test('takes numbers by name', () => {
    expect(readGiven(['rows=12413', 'saveSeconds=61.5'])).toEqual({ rows: 12_413, saveSeconds: 61.5 });
    expect(readGiven()).toEqual({});
  });

  test.each(['foo=1', 'rows', 'rows=', 'toString=1', '__proto__=1'])(
    'names what can be given instead of %s',
    (text) => {
      expect(() => readGiven([text])).toThrow(/hostMtbfDays=NUMBER {2}mean time between the failures of one host/);
    },
  );

  test.each(['rows=0', 'rows=-1', 'rows=many', 'rows=Infinity'])('refuses %s', (text) => {
    expect(() => readGiven([text])).toThrow('rows must be a number greater than 0');
  });
});

describe('the forecast in words', () => {
  const shown = (given: Given): string => showForecast(forecast(jobOf(specOf(publishedInput)), given));

  test('has a line for each rank, and one of memory for each stage', () => {
    const lines = shown({}).split('\n');
    expect(lines[0]).toMatch(/^RANK +NODE +NPU +HOLDS/);
    expect(lines[1]).toMatch(
      /^0 +0 +0 +vision 0-23, projector, language 0-5 +0 of 1 +0 of 1 +0 of 2 +0 +- > 2 +0 +0 +0-1$/,
    );
    expect(lines[8]).toMatch(/^7 +0 +7 +language 22-27 .* 5 > - +7 +7 +6-7$/);
    expect(lines.filter((line) => /^\d-\d( +\d+\.\d){7}$/.test(line))).toHaveLength(4);
  });

  test('shows with Dist-train which ranks of the other tower feed a rank', () => {
    const distTrain = { vision: { npus: 4, tensorParallel: 2 }, language: { npus: 4, layersPerStage: [14, 14] } };
    const spec = specOf({ ...publishedInput, layout: { hosts: 1, npusPerHost: 8, distTrain } });
    const lines = showForecast(forecast(jobOf(spec), {})).split('\n');
    expect(lines[4]).toMatch(/^3 .*vision 0-23, projector .* - > 5 /);
    expect(lines[6]).toMatch(/^5 .*language 0-13 .* 2-3 > 7 /);
    expect(lines[8]).toMatch(/^7 .*language 14-27 .* 5 > - /);
  });

  test('says of what it does not know what must be given', () => {
    const text = shown({});
    expect(text).toContain('Epochs: unknown; give the rows of the data set (--given rows=NUMBER).');
    expect(text).toContain('Save interval: unknown; give --given saveSeconds=NUMBER.');
    expect(text).not.toContain('WARNING');
  });

  test('names each input of the save interval with its source', () => {
    const text = shown({ rows: 12_413, saveSeconds: 60 });
    expect(text).toMatch(
      /Save interval: every \d+ iterations \(Daly .*, Young .*\) loses [\d.]+ %, as planned [\d.]+ %/,
    );
    expect(text).toContain('  saveSeconds 60 (given)');
    expect(text).toContain('  iterationSeconds 18.1 (published:');
    expect(text).toContain('An epoch is about 9930 rows, 77.6 iterations; this run sees the data 64.5 times.');
  });

  test('warns of what will not fit, with the remedy', () => {
    const text = shown({ npuMemoryGib: 40, hostMemoryGb: 16, storeGb: 200, hostDiskGb: 300 });
    expect(text).toMatch(/WARNING: Up to [\d.]+ GiB on ranks 0-1, 6-7, but an NPU has 40 GiB\. Use more stages/);
    expect(text).toMatch(/WARNING: The conversion needs about 32 GB of host memory, but the host has 16\./);
    expect(text).toMatch(/WARNING: 3 checkpoints at once need 323 GB of the store, but it has 200\./);
    expect(text).toMatch(
      /WARNING: With a slow store saves need up to 538 GB on the fullest host, but a host has 300 free\./,
    );
  });
});
