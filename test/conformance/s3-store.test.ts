/** The S3 store against the suite of all stores, on a real server. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe } from 'vitest';
import { S3Store } from '../../src/storage/s3-store.js';
import { Gateway, noGateway } from '../support/versitygw.js';
import { objectStoreSuite } from './object-store.suite.js';

describe.skipIf(noGateway())('on versitygw', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await Gateway.start();
  });
  afterAll(() => gateway.dispose());

  objectStoreSuite('S3 store', async () => {
    const s3 = gateway.settings(`of a test/${randomUUID()}`);
    return { store: new S3Store(s3), address: { s3 }, bufferBytes: 48 * 1024 * 1024 };
  });
});
