// Who is connected, and who was dropped and why.
import type { Peers as Told } from '../net/api.ts'
import { useApi, type Live } from '../net/live.ts'
import { Connect } from '../ui/connect.tsx'
import { count, plural } from '../ui/format.ts'
import { Answer, Bytes, Code, Empty, Guarded, Panel, Table, useNow, When } from '../ui/parts.tsx'
import { Foreign } from '../ui/text.tsx'

/** What the words of the ledger mean. */
const REASONS: Record<string, string> = {
  'connection-rate': 'its address opened too many connections',
  displaced: 'its handshake made room for a newcomer’s',
  'handshake-timeout': 'its handshake took too long',
  handshake: 'its handshake, or its hello, did not read',
  'no-shared-protocol': 'it speaks no Whisper',
  identity: 'it is not who it said, or this node itself',
  'already-connected': 'it is connected already',
  'too-many-peers': 'all places are taken',
  'too-many-of-address': 'all places for its address are taken',
  'no-status': 'it did not introduce itself',
  'bad-frame': 'a frame, or its compression, did not read',
  violation: 'a packet broke the protocol',
  flood: 'it sent too much that is good for nothing',
  'slow-reader': 'it did not read what it was sent',
  silent: 'nothing was heard of it for too long',
  requested: 'the operator had it dropped',
  left: 'it left',
  network: 'the connection failed',
  'request-rate': 'a request beyond its rate; it stayed connected',
  'answer-budget': 'a request beyond the bytes it may be answered; it stayed connected',
}

export function Peers({ live }: { live: Live }) {
  const told = useApi<Told>('api/v1/peers', live.peers, useNow(10_000))
  return (
    <Guarded of={told}>
      <Panel title="Connected" id="connected" side={live.status && <span class="muted">{count(live.status.peers)} of {count(live.status.max_peers)}</span>}>
        <Answer of={told}>{({ peers }) => (
          peers.length === 0
            ? <Empty><p>No peer is connected.</p><Connect /><p>Others reach this node where <code>listen</code> is an address that they can dial.</p></Empty>
            : (
              <Table label="Connected peers">
                <thead><tr><th scope="col">Program</th><th scope="col">Address</th><th scope="col">Node</th><th scope="col">Since</th><th scope="col" class="num">Envelopes in</th><th scope="col" class="num">In</th><th scope="col" class="num">Out</th><th scope="col" class="num">Mail requests</th><th scope="col" class="num">Answered</th></tr></thead>
                <tbody>{peers.map((one) => (
                  <tr><td><Foreign text={one.client} max={120} /> {one.static && <span class="tag">kept</span>}</td>
                    <td><code>{one.address}</code> <span class="muted">{one.inbound ? 'came' : 'was dialled'}</span></td>
                    <td><Code text={one.id} short what="node id" /></td><td><When at={one.since} ago /></td>
                    <td class="num">{count(one.envelopes_in)}</td><td class="num"><Bytes of={one.bytes_in} /></td><td class="num"><Bytes of={one.bytes_out} /></td>
                    <td class="num">{count(one.requests)}{one.requests_limited > 0 && <span class="muted"> ({count(one.requests_limited)} refused)</span>}</td><td class="num"><Bytes of={one.answered_bytes} /></td></tr>
                ))}</tbody>
              </Table>
            )
        )}</Answer>
      </Panel>
      <Panel title="Dropped and refused" id="drops" side={<span class="muted">newest first</span>}>
        <Answer of={told}>{({ drops, reasons }) => (
          drops.length === 0
            ? <Empty><p>Nobody was dropped since the start.</p></Empty>
            : (
              <>
                <p class="chips">{reasons.map((one) => <span class="tag" title={REASONS[one.reason]}>{one.reason}: {count(one.count)}</span>)}</p>
                <Table label="Drops">
                  <thead><tr><th scope="col">When</th><th scope="col">Reason</th><th scope="col">From</th><th scope="col">Program</th><th scope="col">In detail</th></tr></thead>
                  <tbody>{drops.map((one) => (
                    <tr><td><When at={one.at} ago /></td>
                      <td>{REASONS[one.reason] ?? <Foreign text={one.reason} />}{one.times > 1 && <span class="muted"> ({plural(one.times, 'time')})</span>}</td>
                      <td><code>{one.ip}</code></td><td>{one.client ? <Foreign text={one.client} max={120} /> : <span class="muted">not known</span>}</td><td><Foreign text={one.detail} max={300} /></td></tr>
                  ))}</tbody>
                </Table>
              </>
            )
        )}</Answer>
      </Panel>
    </Guarded>
  )
}
