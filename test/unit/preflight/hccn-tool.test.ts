/** hccn_tool's output: every published form gives its value, every other one is "could not be read". */
import { expect, test } from 'vitest';
import * as port from '../../../src/preflight/hccn-tool.js';
import type { Reading } from '../../../src/preflight/reading.js';
import * as sample from '../../fixtures/ascend/samples.js';

test.each<readonly [string, Reading<unknown>, unknown]>([
  ['a link that is up', port.readLink(sample.LINK_UP), 'UP'],
  ['a link that is down', port.readLink(sample.LINK_DOWN), 'DOWN'],
  ...port.NET_HEALTH.map(
    (state) => [`the net health ${state}`, port.readNetHealth(`net health status: ${state}\n`), state] as const,
  ),
  ['an address', port.readAddress(sample.ADDRESS), '10.86.1.80'],
  ['no address', port.readAddress(sample.NO_ADDRESS), null],
  ['TLS that is off', port.readTlsSwitch(sample.TLS_OFF), false],
  ['TLS that is on', port.readTlsSwitch(sample.TLS_OFF.replace('[0]', '[1]')), true],
  ['the correction of errors', port.readFec(sample.FEC), 'rs FEC mode'],
  ['a link lost three weeks ago', port.readLinkLosses(sample.LINK_HISTORY), 0],
  ['a link lost within the day', port.readLinkLosses(sample.LINK_HISTORY.replaceAll('Sun Oct  5', 'Tue Oct 28')), 1],
  ['a port without light', port.readLight(sample.NO_LIGHT), false],
  ['a port with light', port.readLight(sample.NO_LIGHT.replace('0xff', '0x0')), true],
])('%s', (_, read, expected) => {
  expect(read).toEqual({ value: expected });
});

test.each<readonly [string, Reading<unknown>, RegExp]>([
  ['a link in a third state', port.readLink('link status: FLAPPING'), /"FLAPPING" is neither UP nor DOWN/],
  ['nothing', port.readLink(''), /it said ""/],
  ['an unknown net health', port.readNetHealth('net health status: Good'), /"Good" is none of Success, Init/],
  ['an address of another form', port.readAddress('ipaddr:none'), /"none" is not known/],
  ['a TLS switch of another form', port.readTlsSwitch('tls switch[on]'), /"on" is neither 0 nor 1/],
  ['no correction of errors', port.readFec('unsupported'), /it said "unsupported"/],
  [
    'a history without records',
    port.readLinkLosses('[devid 0]current time : Tue Oct 28 21:46:46 2025'),
    /no line "link change/,
  ],
  ['a moment of another form', port.readLinkLosses(sample.LINK_HISTORY.replace('21:46:46', 'noon')), /the time .*noon/],
  ['a module that does not answer', port.readLight(sample.OPTICAL_UNREACHABLE), /Control link unreachable/],
])('%s is not read', (_, read, why) => {
  expect(read).toEqual({ unread: expect.stringMatching(why) as string });
});
