/** A TCP line to a server that a test can cut and mend: what goes through it is neither read nor changed. */
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';

export class Line {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #isCut = false;

  private constructor(host: string, port: number) {
    this.#server = createServer((near) => {
      if (this.#isCut) {
        near.destroy();
        return;
      }
      const far = connect(port, host);
      for (const [end, other] of [[near, far] as const, [far, near] as const]) {
        this.#open.add(end);
        end.on('error', () => other.destroy());
        end.on('close', () => {
          this.#open.delete(end);
          other.destroy();
        });
        end.pipe(other);
      }
    });
  }

  static async open(host: string, port: number): Promise<Line> {
    const line = new Line(host, port);
    line.#server.listen(0, '127.0.0.1');
    await once(line.#server, 'listening');
    return line;
  }

  get address(): string {
    return `127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  cut(): void {
    this.#isCut = true;
    for (const end of this.#open) end.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
