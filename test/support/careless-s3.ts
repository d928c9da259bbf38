/** A small S3 server that does not know `If-None-Match`, as several real ones do not: the last writer wins. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';

interface Stored {
  readonly body: Buffer;
  readonly label: string | undefined;
}

export async function startCarelessS3(): Promise<{ readonly endpoint: string; stop(): Promise<void> }> {
  const objects = new Map<string, Stored>();
  const server = createServer((incoming, outgoing) => {
    void (async () => {
      const path = new URL(incoming.url ?? '/', 'http://s3').pathname;
      const body = await buffer(incoming);
      if (incoming.method === 'PUT')
        objects.set(path, { body, label: incoming.headers['x-amz-meta-sha256'] as string });
      if (incoming.method === 'DELETE') objects.delete(path);
      const found = objects.get(path);
      const isMissing = ['GET', 'HEAD'].includes(incoming.method ?? '') && found === undefined;
      outgoing.statusCode = isMissing && path.split('/').filter(Boolean).length > 1 ? 404 : 200;
      if (found?.label !== undefined) outgoing.setHeader('x-amz-meta-sha256', found.label);
      outgoing.end(incoming.method === 'GET' ? found?.body : undefined);
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${String(port)}`,
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
