/** A TCP line to a server that a test can cut, stall, slow down and mend: what goes through it is neither read nor changed. */
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';

/** A bad line between two cities, of some hundred kB a second. */
const SLOW_MS = 150;
const SLOW_BYTES_PER_MS = 300;

export class Line {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  /** Ends of which something is still on its way: what follows must not overtake it. */
  readonly #passing = new Set<Socket>();
  #state: 'whole' | 'cut' | 'stalled' | 'slow' = 'whole';

  private constructor(host: string, port: number) {
    this.#server = createServer((near) => {
      if (this.#state === 'cut') {
        near.destroy();
        return;
      }
      const far = connect(port, host);
      for (const [end, other] of [[near, far] as const, [far, near] as const]) this.#carry(end, other);
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

  /** Connections end, and new ones are refused. */
  cut(): void {
    this.#state = 'cut';
    for (const end of this.#open) end.destroy();
  }

  /** Connections stand and nothing comes through, as behind a broken switch. */
  stall(): void {
    this.#state = 'stalled';
    for (const end of this.#open) end.pause();
  }

  slow(): void {
    this.#letFlow('slow');
  }

  mend(): void {
    this.#letFlow('whole');
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #letFlow(state: 'whole' | 'slow'): void {
    this.#state = state;
    for (const end of this.#open) if (!this.#passing.has(end)) end.resume();
  }

  #carry(end: Socket, other: Socket): void {
    this.#open.add(end);
    end.on('error', () => other.destroy());
    end.on('close', () => {
      this.#open.delete(end);
      this.#passing.delete(end);
      other.destroySoon();
    });
    const goOn = (): void => {
      this.#passing.delete(end);
      if (this.#state !== 'stalled') end.resume();
    };
    const pass = (chunk: Buffer): void => {
      if (other.write(chunk)) goOn();
      else other.once('drain', goOn);
    };
    end.on('data', (chunk: Buffer) => {
      end.pause();
      this.#passing.add(end);
      if (this.#state === 'slow') setTimeout(pass, SLOW_MS + chunk.byteLength / SLOW_BYTES_PER_MS, chunk);
      else pass(chunk);
    });
    if (this.#state === 'stalled') end.pause();
  }
}
