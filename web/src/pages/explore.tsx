// Envelopes by topic and time, and any block by its CID.
import { useEffect, useState } from 'preact/hooks'
import { cidOf } from '../archive/blocks.ts'
import { ApiError, get, type Found } from '../net/api.ts'
import type { Live } from '../net/live.ts'
import { count, fromField, plural, toField } from '../ui/format.ts'
import { announce, Bytes, Code, Empty, More, Panel, Problem, Table, When } from '../ui/parts.tsx'
import { go, link, type Route } from '../ui/route.ts'
import { topicOfChat } from '../whisper/envelope.ts'
import { BlockView } from './block.tsx'

/** Envelopes of a page. */
const LIMIT = 50

export function Explore({ route }: { route: Route; live: Live }) {
  return (
    <div class="stack">
      <BlockForm route={route} />
      {route.rest.length > 0 ? <BlockView key={route.rest[0]} path={route.rest} /> : <Query key={route.query.toString()} query={route.query} />}
    </div>
  )
}

function BlockForm({ route }: { route: Route }) {
  const [text, setText] = useState(route.rest.join('/'))
  const [wrong, setWrong] = useState('')
  useEffect(() => setText(route.rest.join('/')), [route.rest.join('/')])
  const open = (event: Event) => {
    event.preventDefault()
    const names = text.trim().replace(/^ipfs:\/\//, '').split('/').filter((name) => name && name !== 'ipfs')
    try {
      const [root = '', ...rest] = names
      go(link(['explore', cidOf(root).toString(), ...rest]))
      setWrong('')
    } catch (error) {
      setWrong((error as Error).message)
    }
  }
  return (
    <form class="bar" onSubmit={open} aria-label="Open a block">
      <label class="grow"><span>CID or path</span>
        <input name="cid" value={text} onInput={(event) => setText(event.currentTarget.value)} placeholder="bafy… or bafy…/state/2018/09/15"
          spellcheck={false} autocomplete="off" autocapitalize="off" aria-describedby={wrong ? 'cid-wrong' : undefined} aria-invalid={wrong ? true : undefined} />
      </label>
      <button type="submit">Open block</button>
      {route.rest.length > 0 && <a class="button" href="#/explore">Find envelopes</a>}
      {wrong && <p class="wrong" id="cid-wrong" role="alert">{wrong}</p>}
    </form>
  )
}

/** Work in a few digits; what lived no time shows work without bound. */
function work(pow: number | null): string {
  if (pow === null) return '∞'
  return pow >= 0.001 ? pow.toPrecision(3) : pow.toExponential(1)
}

/** What the fields ask for, as the daemon is asked; throws in words. */
function asked(query: URLSearchParams): string {
  const out = new URLSearchParams({ limit: String(LIMIT), order: query.get('order') === 'oldest' ? 'oldest' : 'newest' })
  for (const topic of (query.get('topic') ?? '').split(/[\s,]+/).filter(Boolean)) {
    if (!/^0x[0-9a-f]{8}$/i.test(topic)) throw new ApiError(`“${topic}” is no topic: 0x and 8 hex digits`, 0)
    out.append('topic', topic)
  }
  // The name stays here: the daemon is asked for the topic that it gives.
  const chat = query.get('chat')
  if (chat) out.append('topic', topicOfChat(chat))
  for (const side of ['from', 'to']) {
    const text = query.get(side)
    if (!text) continue
    const at = fromField(text, side === 'to')
    if (at === null) throw new ApiError(`“${text}” is no time: a day as 2018-10-01, or 2018-10-01T11:25 in UTC`, 0)
    out.set(side, String(at))
  }
  return out.toString()
}

function Query({ query }: { query: URLSearchParams }) {
  const [fields, setFields] = useState({
    topic: query.get('topic') ?? '', chat: query.get('chat') ?? '', from: toField(fromField(query.get('from') ?? '')),
    to: toField(fromField(query.get('to') ?? '', true)), order: query.get('order') ?? 'newest',
  })
  const set = (name: keyof typeof fields) => (event: { currentTarget: { value: string } }) =>
    setFields({ ...fields, [name]: event.currentTarget.value })
  const submit = (event: Event) => {
    event.preventDefault()
    // Counted, so that the same is asked anew when it is asked for again.
    const find = String(Number(query.get('find') ?? 0) + 1)
    go(link(['explore'], { ...fields, order: fields.order === 'newest' ? null : fields.order, find }))
  }
  const isAsked = [...query.keys()].length > 0
  return (
    <Panel title="Find envelopes" id="find">
      <form class="fields" onSubmit={submit}>
        <label><span>Topic</span><input name="topic" value={fields.topic} onInput={set('topic')} placeholder="0xcd423760" spellcheck={false} autocomplete="off" autocapitalize="off" /></label>
        <label><span>or public chat</span><input name="chat" value={fields.chat} onInput={set('chat')} placeholder="status" spellcheck={false} autocomplete="off" autocapitalize="off" /></label>
        <label><span>Sent from, UTC</span><input name="from" type="datetime-local" step="1" value={fields.from} onInput={set('from')} /></label>
        <label><span>to, UTC</span><input name="to" type="datetime-local" step="1" value={fields.to} onInput={set('to')} /></label>
        <label><span>Order</span><select name="order" value={fields.order} onChange={set('order')}><option value="newest">newest first</option><option value="oldest">oldest first</option></select></label>
        <button type="submit">Find</button>
      </form>
      {isAsked ? <Results query={query} /> : <Empty><p>Name a topic, a public chat or a time, or nothing for the newest of all.</p><p>An archive sees topics, times and sizes; what is said opens on the page <a href="#/read">Read</a>.</p></Empty>}
    </Panel>
  )
}

function Results({ query }: { query: URLSearchParams }) {
  const [pages, setPages] = useState<Found[]>([])
  const [error, setError] = useState<ApiError | null>(null)
  const [isBusy, setIsBusy] = useState(true)
  const ask = async (before: Found[]) => {
    setIsBusy(true)
    try {
      const next = before.at(-1)?.next
      const page = await get<Found>(`api/v1/query?${asked(query)}${next ? `&cursor=${encodeURIComponent(next)}` : ''}`)
      setPages([...before, page])
      setError(null)
      announce(`${plural([...before, page].flatMap((one) => one.envelopes).length, 'envelope')} found`)
    } catch (failed) {
      setError(failed instanceof ApiError ? failed : new ApiError(String(failed), 0))
    }
    setIsBusy(false)
  }
  useEffect(() => void ask([]), [query.toString()])
  const envelopes = pages.flatMap((page) => page.envelopes)
  const blocks = pages.reduce((sum, page) => sum + page.blocks, 0)
  const read = pages.reduce((sum, page) => sum + page.bytes, 0)
  const next = pages.at(-1)?.next
  const chat = query.get('chat')
  return (
    <>
      {error && <Problem error={error} again={() => void ask(pages)} />}
      {pages.length > 0 && envelopes.length === 0 && <Empty><p>No envelope of this archive is of that topic and time.</p><p>Look at the <a href="#/archive">calendar</a> for when it holds some.</p></Empty>}
      {envelopes.length > 0 && (
        <>
          <p class="muted"><span data-test="found">{plural(envelopes.length, 'envelope')}</span>{next ? ' so far' : ''}, {plural(blocks, 'block')} read, <Bytes of={read} />
            {chat && <> · <a href={link(['read'], { chat, from: query.get('from'), to: query.get('to') })}>Read this chat</a></>}</p>
          <Table label="Envelopes">
            <thead><tr><th scope="col">Sent, UTC</th><th scope="col">Topic</th><th scope="col">Hash</th><th scope="col" class="num">Size</th><th scope="col" class="num">TTL</th><th scope="col" class="num">Work</th><th scope="col" class="num">Nonce</th><th scope="col">Expiry, UTC</th></tr></thead>
            <tbody data-test="envelopes">
              {envelopes.map((one) => (
                <tr key={one.hash} data-hash={one.hash}>
                  <td><When at={one.sent} brief /></td>
                  <td><a href={link(['explore'], { topic: one.topic })}><code>{one.topic}</code></a></td>
                  <td><Code text={one.hash} short what="hash" /></td>
                  <td class="num"><Bytes of={one.size} /></td><td class="num">{count(one.ttl)} s</td>
                  <td class="num" title="proof of work: 2^bits / bytes / seconds">{work(one.pow)}</td>
                  <td class="num"><code>{BigInt(one.nonce).toString()}</code></td>
                  <td><When at={one.expiry} brief /></td>
                </tr>
              ))}
            </tbody>
          </Table>
        </>
      )}
      <More name="More" all="These are all." busy={isBusy ? 'Reading blocks…' : ''} hasMore={!!next} onMore={() => void ask(pages)} />
      {isBusy && pages.length === 0 && <p class="muted waiting">Reading blocks…</p>}
    </>
  )
}
