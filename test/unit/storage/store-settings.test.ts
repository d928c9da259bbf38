/** A store's settings, and its address in one line: the two say the same, and neither takes a secret. */
import { describe, expect, test } from 'vitest';
import { formatStoreAddress, parseStoreAddress, pathInStore, StoreShape } from '../../../src/storage/store-settings.js';

const whole = {
  endpoint: 'https://obs.example:9000',
  region: 'cn-north-4',
  bucket: 'models',
  prefix: 'team a/tuning',
  pathStyle: true,
  credentialsFile: '/etc/anneal/credentials',
  fencing: 'weak',
} as const;

describe('an address', () => {
  test.each([
    ['s3://models', { bucket: 'models', prefix: '', pathStyle: false, fencing: 'strict' }],
    ['s3://models/a/b', { bucket: 'models', prefix: 'a/b', pathStyle: false, fencing: 'strict' }],
    [
      's3://models/?endpoint=http://127.0.0.1:7070&pathStyle=true',
      { bucket: 'models', prefix: '', pathStyle: true, fencing: 'strict', endpoint: 'http://127.0.0.1:7070' },
    ],
  ])('%s names a store on S3', (text, s3) => {
    expect(parseStoreAddress(text)).toEqual({ s3 });
  });

  test('of every setting leads back to the same settings', () => {
    expect(parseStoreAddress(formatStoreAddress({ s3: whole }))).toEqual({ s3: whole });
    expect(formatStoreAddress(parseStoreAddress('/mnt/store'))).toBe('/mnt/store');
  });

  test('that is no s3:// is a folder', () => {
    expect(parseStoreAddress('./s3')).toEqual({ folder: './s3' });
  });

  test.each([
    ['s3://UPPER/x', 'bucket'],
    ['s3://', 'bucket'],
    ['s3://models/../x', 'prefix'],
    ['s3://models?endpoint=ftp://host', 'http:// or https://'],
    ['s3://models?endpoint=http://user:secret@host', 'credentials never belong in an address'],
    ['s3://models?secretAccessKey=abc', 'secretAccessKey'],
    ['s3://models?pathStyle=yes', 'pathStyle'],
    ['s3://models?fencing=none', 'fencing'],
  ])('%s is refused with what is wrong', (text, words) => {
    const refusal = { code: 'KeyInvalid', message: expect.stringContaining(words) as string };
    expect(() => parseStoreAddress(text)).toThrow(expect.objectContaining(refusal) as Error);
  });

  test('shows where a key lies without the rest of it', () => {
    expect(pathInStore(formatStoreAddress({ s3: whole }), 'runs/a/')).toBe('s3://models/team%20a/tuning/runs/a/');
    expect(pathInStore('/mnt/store/', 'runs/a/')).toBe('/mnt/store/runs/a/');
  });
});

test('settings name either a folder or a place on S3, and nothing that is not a setting', () => {
  expect(StoreShape.safeParse({ folder: '/a' }).success).toBe(true);
  expect(StoreShape.safeParse({ s3: { bucket: 'models' } }).success).toBe(true);
  for (const wrong of [
    {},
    { folder: '/a', s3: { bucket: 'models' } },
    { s3: { bucket: 'models', secretAccessKey: 'x' } },
  ])
    expect(StoreShape.safeParse(wrong).success).toBe(false);
});
