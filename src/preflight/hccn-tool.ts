/** Reads what the driver's `hccn_tool` says of the network port of a chip. */
import { quote, type Reading, reading, Unreadable } from './reading.js';

export type Link = 'UP' | 'DOWN';
/** Success, and Init where no address to detect is configured, are healthy. */
export const NET_HEALTH = ['Success', 'Init', 'Fault', 'Socket failed', 'Receive timeout'] as const;
export type NetHealth = (typeof NET_HEALTH)[number];

/** `-link -g` */
export function readLink(text: string): Reading<Link> {
  return reading('hccn_tool -link -g', () => {
    const link = lineOf(text, /^link status:\s*(.+)$/m);
    if (link !== 'UP' && link !== 'DOWN') throw new Unreadable(`the link status ${quote(link)} is neither UP nor DOWN`);
    return link;
  });
}

/** `-net_health -g` */
export function readNetHealth(text: string): Reading<NetHealth> {
  return reading('hccn_tool -net_health -g', () => {
    const said = lineOf(text, /^net health status:\s*(.+)$/m);
    const known = NET_HEALTH.find((one) => one === said);
    if (known === undefined) throw new Unreadable(`the status ${quote(said)} is none of ${NET_HEALTH.join(', ')}`);
    return known;
  });
}

/** `-ip -g`: null when the port has no address. */
export function readAddress(text: string): Reading<string | null> {
  return reading('hccn_tool -ip -g', () => {
    if (/no ip was preset/i.test(text)) return null;
    const address = lineOf(text, /^ipaddr:\s*(\S+)$/m);
    if (!/^(\d{1,3}\.){3}\d{1,3}$/.test(address)) throw new Unreadable(`the address ${quote(address)} is not known`);
    return address;
  });
}

/** `-tls -g`: whether the port encrypts. It must be the same on all hosts of a gang. */
export function readTlsSwitch(text: string): Reading<boolean> {
  return reading('hccn_tool -tls -g', () => {
    const found = lineOf(text, /tls switch\[([^\]]*)\]/);
    if (found !== '0' && found !== '1') throw new Unreadable(`the TLS switch ${quote(found)} is neither 0 nor 1`);
    return found === '1';
  });
}

/** `-fec -g`: the mode of error correction. */
export function readFec(text: string): Reading<string> {
  return reading('hccn_tool -fec -g', () => lineOf(text, /^fec mode:\s*(.+)$/m));
}

/** `-link_stat -g`: how often the link was lost within the last day, by the port's own clock and records. */
export function readLinkLosses(text: string): Reading<number> {
  return reading('hccn_tool -link_stat -g', () => {
    const now = momentOf(lineOf(text, /current time\s*:\s*(.+)$/m));
    if (!/link change records\s*:/.test(text))
      throw new Unreadable(`no line "link change records :"; it said ${quote(text.trim())}`);
    const downs = [...text.matchAll(/^\[devid \d+\]\s+(.+?)\s{2,}LINK DOWN\s*$/gm)].map(([, at = '']) => momentOf(at));
    return downs.filter((at) => now - at < DAY_MS).length;
  });
}

/** `-optical -g`, asked only of a link that is down: whether light comes in on all lanes. */
export function readLight(text: string): Reading<boolean> {
  return reading('hccn_tool -optical -g', () => {
    const flag = lineOf(text, /Rx Los Flag\s*:\s*(\S+)\s*$/m);
    if (!/^0x[0-9a-f]+$/i.test(flag)) throw new Unreadable(`the Rx Los Flag ${quote(flag)} is not known`);
    return Number(flag) === 0;
  });
}

const DAY_MS = 24 * 3600 * 1000;

function lineOf(text: string, pattern: RegExp): string {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Unreadable(`it said ${quote(text.trim())}, which is not known`);
  return found.trim();
}

/** Both moments that are compared come from one clock, so which zone it keeps does not matter. */
function momentOf(text: string): number {
  const at = Date.parse(`${text.replaceAll(/\s+/g, ' ')} UTC`);
  if (Number.isNaN(at)) throw new Unreadable(`the time ${quote(text)} is not known`);
  return at;
}
