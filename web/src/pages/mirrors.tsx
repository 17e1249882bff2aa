// Who keeps this history too, and which others there are.
import type { Mirrors as Told, Verified } from '../net/api.ts'
import { useApi, type Live } from '../net/live.ts'
import { count, plural } from '../ui/format.ts'
import { Answer, Bytes, CidLink, Code, Copy, Empty, Guarded, Panel, Table, useNow, When } from '../ui/parts.tsx'
import { Foreign } from '../ui/text.tsx'

function LastVerified({ of }: { of?: Verified | null }) {
  if (!of) return <span class="muted">does not say</span>
  return <><CidLink cid={of.head} short /> <span class="muted">{count(of.seq)}</span> <When at={of.at} ago /></>
}

export function Mirrors({ live }: { live: Live }) {
  const told = useApi<Told>('api/v1/mirrors', live.heads, useNow(30_000))
  return (
    <Guarded of={told}>
      <Panel title="Who follows this archive" id="mirrors" side={<span class="muted">asked for heads or blocks over HTTP since the start</span>}>
        <Answer of={told}>{({ mirrors }) => (
          mirrors.length === 0
            ? <Empty><p>Nobody has asked for the history so far.</p><p>Give others the share line of the page <a href="#/overview">Overview</a>: with it <code>gwa mirror</code> copies the archive, and follows it.</p></Empty>
            : (
              <Table label="Mirrors">
                <thead><tr><th scope="col">Address</th><th scope="col">Program</th><th scope="col">Head it knows</th><th scope="col">Behind</th><th scope="col">Last verified</th><th scope="col" class="num">Blocks</th><th scope="col" class="num">Size</th><th scope="col">First asked</th><th scope="col">Last asked</th></tr></thead>
                <tbody>{mirrors.map((one) => (
                  <tr><td><code>{one.address}</code></td><td>{one.agent ? <Foreign text={one.agent} max={120} /> : <span class="muted">does not say</span>}</td>
                    <td>{one.head ? <CidLink cid={one.head} short /> : <span class="muted">not known</span>}{one.seq != null && <> <span class="muted">{count(one.seq)}</span></>}</td>
                    <td>{one.behind == null ? <span class="muted">not known</span> : one.behind === 0 ? <span class="tag good">up to date</span> : plural(one.behind, 'head')}</td>
                    <td><LastVerified of={one.verified} /></td>
                    <td class="num">{count(one.blocks)}</td><td class="num"><Bytes of={one.bytes} /></td><td><When at={one.first} ago /></td><td><When at={one.last} ago /></td></tr>
                ))}</tbody>
              </Table>
            )
        )}</Answer>
      </Panel>
      <Panel title="Whom this archive follows" id="following">
        <Answer of={told}>{({ following }) => (
          following.length === 0
            ? <Empty><p>This archive follows no other.</p><p><code>gwa mirror REF</code> begins a copy of another in a folder of its own. A daemon that is started with <code>--follow REF</code> unites with others again and again.</p></Empty>
            : (
              <Table label="Followed archives">
                <thead><tr><th scope="col">Where</th><th scope="col">Why</th><th scope="col">Last verified</th><th scope="col">Last asked</th><th scope="col">Trouble</th></tr></thead>
                <tbody>{following.map((one) => (
                  <tr><td><code><Foreign text={one.name} max={200} /></code></td><td>{one.purpose === 'origin' ? 'this is a copy of it' : 'united with this one'}</td>
                    <td><LastVerified of={one.verified} /></td>
                    <td>{one.asked == null ? <span class="muted">not yet</span> : <When at={one.asked} ago />}</td>
                    <td>{one.trouble ? <span class="tag bad"><Foreign text={one.trouble} max={300} /></span> : <span class="muted">none</span>}</td></tr>
                ))}</tbody>
              </Table>
            )
        )}</Answer>
      </Panel>
      <Panel title="Archives announced on the network" id="discovered">
        <Answer of={told}>{({ discovered }) => (
          discovered.length === 0
            ? <Empty><p>No announcement was heard so far.</p><p>Archives announce themselves where their daemon is started with <code>--announce</code>; they are heard from peers, and <code>gwa discover ENODE</code> asks one.</p></Empty>
            : (
              <Table label="Discovered archives">
                <thead><tr><th scope="col">Name</th><th scope="col">Key</th><th scope="col">Head</th><th scope="col" class="num">Number</th><th scope="col" class="num">Envelopes</th><th scope="col">Heard</th><th scope="col">Where to have it</th></tr></thead>
                <tbody>{discovered.map((one) => (
                  <tr><td>{one.name ? <Foreign text={one.name} max={64} /> : <span class="muted">no name</span>}{one.own && <> <span class="tag">this one</span></>}</td><td><Code text={one.archive} short what="key" /></td>
                    <td><CidLink cid={one.head} short />{one.rival && <div><span class="tag bad">two heads of one number</span></div>}</td><td class="num">{count(one.seq)}</td><td class="num">{count(one.count)}</td><td><When at={one.heard} ago /></td>
                    <td>{one.share && <div>Share line <Copy text={one.share} what="share line" /></div>}{one.endpoints.length === 0 ? <span class="muted">does not say</span> : one.endpoints.map((endpoint) => <div><code><Foreign text={endpoint} max={200} /></code> <Copy text={endpoint} what="address" /></div>)}</td></tr>
                ))}</tbody>
              </Table>
            )
        )}</Answer>
        <p class="muted">Names and addresses are what these archives say of themselves. Nothing of them was checked here; <code>gwa mirror</code> checks all it fetches.</p>
      </Panel>
    </Guarded>
  )
}
