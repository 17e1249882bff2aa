// Is it working, and what is my address?
import { useState } from 'preact/hooks'
import { isOwn } from '../net/address.ts'
import { isNoHead, type Gaps, type Head, type Share, type Stats, type Traffic } from '../net/api.ts'
import { useApi, type Asked, type Live } from '../net/live.ts'
import { Bars } from '../ui/bars.tsx'
import { Connect } from '../ui/connect.tsx'
import { count, hour, plural, span } from '../ui/format.ts'
import { Answer, Bytes, CidLink, Copy, Empty, Figure, NoHead, Panel, Problem, Qr, When, useNow } from '../ui/parts.tsx'
import { standing } from '../ui/standing.ts'
import { Foreign } from '../ui/text.tsx'

/** An archive that took in nothing for so long is told to be quiet, seconds. */
const QUIET = 3_600
/** How often what the archive holds is asked for again while the page is open, milliseconds. */
const EVERY = 60_000

export function Overview({ live }: { live: Live }) {
  const minute = useNow(EVERY)
  const stats = useApi<Stats>('api/v1/stats', live.heads, minute)
  const traffic = useApi<Traffic>('api/v1/traffic?hours=48', live.heads, minute)
  return (
    <div class="grid">
      <Summary live={live} asked={stats} traffic={traffic.data} />
      <Panel title="Sent in the last 48 hours" id="traffic" wide>
        <Answer of={traffic}>{({ hours }) => (
          hours.some((one) => one.count > 0 || one.known === false)
            ? <Bars bars={hours} label="Envelopes by hour" />
            : (
              <Empty>
                <p>Nothing that was sent in the last two days is here.</p>
                {live.status?.peers === 0 && <Connect />}
                <p>To take in what others kept, stop the daemon, run <code>gwa import FILE</code>, and start it again.</p>
              </Empty>
            )
        )}</Answer>
      </Panel>
      <div class="stack">
        <HeadPanel live={live} />
        <GapsPanel live={live} />
      </div>
      <div class="stack">
        <Addresses live={live} />
        <Counters live={live} />
      </div>
    </div>
  )
}

function Summary({ live, asked, traffic }: { live: Live; asked: Asked<Stats>; traffic: Traffic | null }) {
  const { health, status } = live
  const now = useNow(1_000)
  const last = status?.envelopes.last_stored ?? null
  const age = last === null ? null : now - last
  const { tone, state } = standing(live)
  const newest = traffic?.hours.findLast((one) => one.count > 0)
  const stats = asked.data
  const unknown = asked.error ? 'not known' : '…'
  return (
    <section class="wide stack" aria-label="Summary">
      <dl class="figures">
        <Figure name="State" tone={tone}
          note={health?.error ? <Foreign text={health.error} /> : status ? <>up {span(now - status.since)}</> : null}>
          {state}
        </Figure>
        <Figure name="Last envelope" tone={age === null || age > QUIET ? 'warn' : 'good'}
          note={last !== null ? <When at={last} /> : newest ? <>the newest here was sent after {hour(newest.from)} UTC, {span(now - newest.from)} ago</> : null}>
          {age === null ? 'none since the start' : `${span(age)} ago`}
        </Figure>
        <Figure name="Peers" tone={status && status.peers === 0 ? 'warn' : undefined}
          note={status ? `room for ${count(status.max_peers)}` : null}>
          <span data-test="peers">{status ? count(status.peers) : '…'}</span>
        </Figure>
        <Figure name="Envelopes sealed" note={stats ? <>watermark {stats.watermark ? <When at={stats.watermark} /> : 'none'}</> : null}>
          <span data-test="count">{stats ? count(stats.count) : unknown}</span>
        </Figure>
        <Figure name="Their bytes" note={stats ? `${count(stats.bytes)} bytes` : null}>{stats ? <Bytes of={stats.bytes} /> : unknown}</Figure>
        <Figure name="Waiting" note="durable, not yet sealed">
          <span data-test="waiting">{stats ? count(stats.waiting) : unknown}</span>
        </Figure>
      </dl>
      {asked.error && !isNoHead(asked.error) && live.link !== 'lost' && <Problem error={asked.error} again={asked.again} />}
    </section>
  )
}

function GapsPanel({ live }: { live: Live }) {
  const gaps = useApi<Gaps>('api/v1/gaps?days=30', live.heads)
  return (
    <Panel title="Gaps of the last 30 days" id="gaps">
      <Answer of={gaps}>{({ gaps: found, count: came, unknown: elsewhere = [] }) => <>
        {elsewhere.length > 0 && <p class="muted" data-test="gaps-unknown">Nothing is known of {
          span(elsewhere.reduce((sum, time) => sum + time.until - time.from, 0))
        } of it: those days are not on this disk.</p>}
        {found.length === 0
          ? <Empty><p>{came === 0 ? 'Nothing came in all this time: there is no habit to compare it with.' : 'No hour was silent that usually is not.'}</p></Empty>
          : <>
            <ul class="rows">{found.slice(0, 50).map((gap) => (
              <li>
                <span><When at={gap.from} /> for {span(gap.until - gap.from)}</span>
                <span class="muted">{gap.expected === null
                  ? 'nothing came in all this time'
                  : <>{plural(gap.had, 'envelope')} there{gap.expected ? `, about ${count(Math.round(gap.expected))} expected` : ''}</>}</span>
              </li>
            ))}</ul>
            {found.length > 50 && <p class="muted">{plural(found.length - 50, 'gap')} more</p>}
            <p class="muted"><code>gwa gaps ENODE</code> tells beside this daemon what another mailserver has of them. To take it in, stop the daemon, run it with <code>--fill</code>, and start the daemon again.</p>
          </>}
      </>}</Answer>
    </Panel>
  )
}

function HeadPanel({ live }: { live: Live }) {
  const head = useApi<Head>('head?format=json', live.heads)
  const share = useApi<Share>('api/v1/share', live.heads)
  const [showsQr, setShowsQr] = useState(false)
  return (
    <Panel title="Head" id="head">
      {head.error && isNoHead(head.error)
        ? <NoHead />
        : <Answer of={head}>{(it) => (
          <dl class="pairs">
            <dt>CID</dt><dd data-test="head"><CidLink cid={it.head} /></dd>
            <dt>Number</dt><dd>{count(it.seq)}, signed <When at={it.signed_at} /></dd>
            <dt>Archive</dt><dd>{it.name ? <Foreign text={it.name} /> : <span class="muted">no name</span>} · network <Foreign text={it.network} /></dd>
            <dt>Key</dt><dd><span class="cid"><code>{it.key}</code><Copy text={it.key} what="key" /></span></dd>
          </dl>
        )}</Answer>}
      {live.health?.name_error && <div class="problem"><p>The names of this archive lead to no newer head.</p><p class="muted"><Foreign text={live.health.name_error} /></p></div>}
      {share.data && (
        <>
          <h3>Share</h3>
          <p class="muted">One line with which others mirror, fork and query this archive.{!hasAddress(share.data) && <> It names no address, because only this machine reaches this daemon: give others one beside it, or set <code>listen</code> or <code>public-urls</code>.</>}</p>
          <p class="line"><code data-test="share">{share.data.share}</code></p>
          <p class="buttons">
            <Copy text={share.data.share} what="share line" />
            <button type="button" aria-expanded={showsQr} onClick={() => setShowsQr(!showsQr)}>{showsQr ? 'Hide QR code' : 'QR code'}</button>
          </p>
          {showsQr && <Qr text={share.data.share} label="The share line as a QR code" />}
        </>
      )}
      {share.error && share.error.status !== 404 && <p class="muted"><Foreign text={share.error.message} /></p>}
    </Panel>
  )
}

/** Whether a share line leads anywhere by itself. */
const hasAddress = ({ enode, http, urls, p2p }: Share): boolean => !!enode || !!http || !!urls?.length || !!p2p?.length

/** A mark on addresses that nobody else reaches. */
const Own = ({ address }: { address: string }) => (isOwn(address) ? <> <span class="tag warn">this machine only</span></> : null)

function Addresses({ live }: { live: Live }) {
  const { status } = live
  const [showsQr, setShowsQr] = useState(false)
  // A code to be scanned is for another device.
  const isShown = !!status?.enode && !isOwn(status.enode)
  return (
    <Panel title="Addresses" id="addresses">
      {!status ? <p class="muted waiting">Asking the daemon…</p> : (
        <>
          <dl class="pairs">
            <dt>Enode</dt>
            <dd>{status.enode
              ? <><span class="cid"><code data-test="enode">{status.enode}</code><Copy text={status.enode} what="enode" /></span><Own address={status.enode} /></>
              : <span class="muted">not listening for peers</span>}</dd>
            <dt>Listens at</dt><dd>{status.listen ? <><code>{status.listen}</code><Own address={status.listen} /></> : <span class="muted">nowhere</span>}</dd>
            {status.p2p?.addresses.map((address) => (
              <><dt>IPFS peer</dt><dd><span class="cid"><code>{address}</code><Copy text={address} what="address" /></span><Own address={address} /></dd></>
            ))}
          </dl>
          {isShown && (
            <p class="buttons"><button type="button" aria-expanded={showsQr} onClick={() => setShowsQr(!showsQr)}>{showsQr ? 'Hide QR code' : 'QR code of the enode'}</button></p>
          )}
          {isShown && showsQr && <Qr text={status!.enode!} label="The enode as a QR code" />}
          {status.enode && !isShown && <p class="muted">Others reach this node once <code>listen</code> is an address of this machine that they can dial, such as <code>0.0.0.0:30303</code>: set it in <code>gwa.toml</code>, and start the daemon again.</p>}
          <p class="muted">Status clients take the enode with the mailserver’s password: <code>enode://KEY:PASSWORD@HOST:PORT</code></p>
        </>
      )}
    </Panel>
  )
}

function Counters({ live }: { live: Live }) {
  const { status } = live
  if (!status) return null
  const { envelopes, requests, pool, store, p2p } = status
  const rows: Array<[string, preact.ComponentChildren]> = [
    ['Envelopes received', count(envelopes.received)],
    ['stored', count(envelopes.stored)],
    ['known already', count(envelopes.duplicate)],
    ['too old', count(envelopes.stale)],
    ['refused', count(envelopes.refused)],
    ['failed to be stored', count(envelopes.failed)],
    ['passed on to peers', count(envelopes.relayed)],
    ['Alive on the network', <>{count(pool.count)}, <Bytes of={pool.bytes} /></>],
    ['Mail requests served', count(requests.served)],
    ['refused', count(requests.refused)],
    ['envelopes delivered', count(requests.delivered)],
  ]
  return (
    <Panel title="Since the start" id="counters">
      <dl class="counters">{rows.map(([name, value]) => <div><dt class={/^[A-Z]/.test(name) ? '' : 'sub'}>{name}</dt><dd>{value}</dd></div>)}</dl>
      {store && (
        <>
          <h3>Store</h3>
          {store.error && <div class="problem"><p><Foreign text={store.error} /></p>{store.failing_since && <p class="muted">since <When at={store.failing_since} /></p>}</div>}
          <dl class="counters">
            <div><dt><Foreign text={store.store} /></dt><dd>{store.seq === null ? 'no head yet' : `head ${count(store.seq)}`}</dd></div>
            <div><dt class="sub">files on their way</dt><dd>{store.waiting_files === null ? 'unknown' : <>{count(store.waiting_files)}, <Bytes of={store.waiting_bytes ?? 0} /></>}</dd></div>
            <div><dt class="sub">kept there alone</dt><dd>{count(store.evicted_files)}, <Bytes of={store.evicted_bytes} /></dd></div>
            <div><dt class="sub">lost</dt><dd>{count(store.lost_files)}</dd></div>
          </dl>
        </>
      )}
      {p2p && (
        <>
          <h3>IPFS peer</h3>
          <dl class="counters">
            <div><dt>Peers connected</dt><dd>{count(p2p.peers)}</dd></div>
            <div><dt class="sub">wants</dt><dd>{count(p2p.wants)}</dd></div>
            <div><dt class="sub">blocks sent</dt><dd>{count(p2p.blocks)}, <Bytes of={p2p.bytes} /></dd></div>
            <div><dt class="sub">peers dropped</dt><dd>{count(p2p.dropped)}</dd></div>
            {p2p.dht && <div><dt class="sub">blocks announced</dt><dd>{count(p2p.dht.announced)} of {count(p2p.dht.roots)}{p2p.dht.reached ? '' : ', no DHT node reached'}</dd></div>}
          </dl>
        </>
      )}
    </Panel>
  )
}
