// The order in which messages are read.
import type { OpenedEnvelope } from './terms.ts'

/** Pages of one answer as a reader wants them: by time, then by hash, each once. */
export function inOrder(envelopes: OpenedEnvelope[]): OpenedEnvelope[] {
  const once = [...new Map(envelopes.map((one) => [one.hash, one])).values()]
  const at = (one: OpenedEnvelope) => (one.is === 'open' ? one.sent : 0)
  return once.sort((a, b) => at(a) - at(b) || (a.hash < b.hash ? -1 : 1))
}
