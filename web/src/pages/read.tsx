// What a community said. Keys are derived, and messages opened, in this page's worker;
// the daemon is asked for a topic and a time, and learns no name and no key.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { ApiError, get, type Found } from '../net/api.ts'
import { openEnvelopes } from '../reader/client.ts'
import { inOrder } from '../reader/order.ts'
import { remark } from '../reader/remark.ts'
import type { AskedKey, OpenedEnvelope, WireEnvelope } from '../reader/terms.ts'
import { count, fromField, plural, toField } from '../ui/format.ts'
import { announce, Bytes, Code, Copy, Empty, More, Panel, Problem, When } from '../ui/parts.tsx'
import { go, link, type Route } from '../ui/route.ts'
import { Foreign } from '../ui/text.tsx'
import { fromHex, shortKey, toHex, toText } from '../whisper/bytes.ts'
import { topicOfChat } from '../whisper/envelope.ts'

/** Envelopes of a page. */
const LIMIT = 50
/** Characters of a message that are shown before it is opened, and at most then. */
const SHORT = 500
const MAX_TEXT = 100_000
/** Colours by which senders are told apart at a glance. */
const COLOURS = 8

type Kind = 'chat' | 'password' | 'symmetric' | 'secret'
const KINDS: Record<Kind, string> = {
  chat: 'Name of a public chat',
  password: 'Password and topic',
  symmetric: 'Symmetric key and topic',
  secret: 'Secret key and topic',
}
const SECRET_NAMES: Record<Kind, string> = {
  chat: 'Name of the chat', password: 'Password', symmetric: 'Key: 64 hex digits', secret: 'Secret key: 64 hex digits',
}

/** What is to be read. */
interface Wanted {
  key: AskedKey
  topic: string
  from: number | null
  to: number | null
}

export function Read({ route }: { route: Route }) {
  const chat = route.query.get('chat')
  const [kind, setKind] = useState<Kind>('chat')
  const [name, setName] = useState('')
  const [secret, setSecret] = useState('')
  const [topic, setTopic] = useState('')
  const [from, setFrom] = useState('')
  const [to, setTo] = useState('')
  const [wrong, setWrong] = useState('')
  const [wanted, setWanted] = useState<Wanted | null>(null)
  // What is read with a secret stands in no address, and stays when that changes to none.
  const isSecret = useRef(false)
  const readChat = (called: string, since: string, until: string) => {
    const times = [since, until].map((text, i) => (text ? fromField(text, i === 1) : null))
    if ((since && times[0] === null) || (until && times[1] === null)) {
      setWanted(null)
      return setWrong('a time is a day as 2018-10-01, or 2018-10-01T11:25 in UTC')
    }
    setWanted({ key: { kind: 'password', text: called }, topic: topicOfChat(called), from: times[0]!, to: times[1]! })
  }
  useEffect(() => {
    if (!chat) {
      if (isSecret.current) return
      setWanted(null)
      setName('')
      return
    }
    isSecret.current = false
    setWrong('')
    const [since, until] = [route.query.get('from') ?? '', route.query.get('to') ?? '']
    setName(chat)
    setKind('chat')
    setFrom(toField(fromField(since)))
    setTo(toField(fromField(until, true)))
    readChat(chat, since, until)
  }, [route.query.toString()])
  const readSecretly = (key: AskedKey) => {
    isSecret.current = true
    setWanted({ key, topic, from: fromField(from), to: fromField(to) })
    if (chat) go('#/read')
  }
  const submit = (event: Event) => {
    event.preventDefault()
    setWrong('')
    if (kind === 'chat') {
      if (name === '') return setWrong('a chat has a name')
      const there = link(['read'], { chat: name, from, to })
      if (there === location.hash) readChat(name, from, to)
      else go(there)
      return
    }
    if (!/^0x[0-9a-f]{8}$/i.test(topic)) return setWrong('a topic is 0x and 8 hex digits')
    if (kind === 'password') {
      if (secret === '') return setWrong('a password has at least one character')
      return readSecretly({ kind, text: secret })
    }
    try {
      if (fromHex(secret.trim()).length !== 32) throw new Error()
    } catch {
      return setWrong('a key is 64 hex digits')
    }
    readSecretly({ kind, hex: secret.trim() })
  }
  return (
    <div class="stack">
      <Panel title="Open messages" id="open">
        <form class="fields" onSubmit={submit} autocomplete="off">
          <label><span>With</span>
            <select name="kind" value={kind} onChange={(event) => setKind(event.currentTarget.value as Kind)}>
              {Object.entries(KINDS).map(([value, text]) => <option value={value}>{text}</option>)}
            </select>
          </label>
          {kind === 'chat'
            ? <label><span>{SECRET_NAMES.chat}</span><input name="chat" value={name} onInput={(event) => setName(event.currentTarget.value)} placeholder="status" spellcheck={false} autocapitalize="off" /></label>
            : <>
              <label><span>{SECRET_NAMES[kind]}</span><input name="secret" type="password" value={secret} onInput={(event) => setSecret(event.currentTarget.value)} spellcheck={false} autocomplete="off" /></label>
              <label><span>Topic</span><input name="topic" value={topic} onInput={(event) => setTopic(event.currentTarget.value)} placeholder="0xcd423760" spellcheck={false} autocapitalize="off" /></label>
            </>}
          <label><span>Sent from, UTC</span><input name="from" type="datetime-local" step="1" value={from} onInput={(event) => setFrom(event.currentTarget.value)} /></label>
          <label><span>to, UTC</span><input name="to" type="datetime-local" step="1" value={to} onInput={(event) => setTo(event.currentTarget.value)} /></label>
          <button type="submit">Read</button>
          {wrong && <p class="wrong" role="alert">{wrong}</p>}
        </form>
        <p class="muted">Names, passwords and keys stay in this page: it derives the key and opens messages here. The daemon is asked for a topic and a time. Who knows a public chat’s name reads it, here as on the network.</p>
      </Panel>
      {wanted && <Messages wanted={wanted} key={JSON.stringify([wanted.topic, wanted.from, wanted.to, wanted.key])} />}
    </div>
  )
}

interface Opened { messages: OpenedEnvelope[]; next: string | null | undefined; seen: number }

function Messages({ wanted }: { wanted: Wanted }) {
  const [opened, setOpened] = useState<Opened>({ messages: [], next: undefined, seen: 0 })
  const [error, setError] = useState<Error | null>(null)
  const [busy, setBusy] = useState('')
  const isThere = useRef(true)
  const list = useRef<HTMLOListElement>(null)
  // The message that stood first before earlier ones came, and where: it stays there.
  const keep = useRef<Element | null>(null)
  const keptAt = useRef(0)
  useLayoutEffect(() => {
    if (keep.current?.isConnected) scrollBy({ top: keep.current.getBoundingClientRect().top - keptAt.current, behavior: 'instant' })
    keep.current = null
  }, [opened])
  const toNewest = () => {
    const newest = list.current?.lastElementChild as HTMLElement | null
    newest?.focus({ preventScroll: true })
    newest?.scrollIntoView({ block: 'nearest' })
  }
  const more = async (before: Opened) => {
    setError(null)
    try {
      setBusy('Fetching envelopes…')
      const query = new URLSearchParams({ topic: wanted.topic, limit: String(LIMIT), order: 'newest', data: '1' })
      if (wanted.from !== null) query.set('from', String(wanted.from))
      if (wanted.to !== null) query.set('to', String(wanted.to))
      if (before.next) query.set('cursor', before.next)
      const page = await get<Found>(`api/v1/query?${query}`)
      if (!isThere.current) return
      setBusy('Deriving the key and opening messages…')
      const told = await openEnvelopes(wanted.key, wanted.topic, page.envelopes.map((one) => ({ ...one, data: one.data ?? '0x' }) satisfies WireEnvelope))
      if (!isThere.current) return
      const messages = inOrder([...told, ...before.messages])
      keep.current = list.current?.firstElementChild ?? null
      keptAt.current = keep.current?.getBoundingClientRect().top ?? 0
      setOpened({ messages, next: page.next ?? null, seen: messages.length })
      announce(`${plural(messages.filter((one) => one.is === 'open').length, 'message')} open`)
    } catch (failed) {
      if (isThere.current) setError(failed instanceof Error ? failed : new ApiError(String(failed), 0))
    }
    if (isThere.current) setBusy('')
  }
  useEffect(() => {
    isThere.current = true
    void more({ messages: [], next: undefined, seen: 0 })
    return () => {
      isThere.current = false
    }
  }, [])
  const open = opened.messages.filter((one) => one.is === 'open')
  const bent = opened.messages.filter((one) => one.is === 'bent')
  const closed = opened.seen - open.length - bent.length
  const isDone = opened.next !== undefined
  return (
    <Panel title="Messages" id="messages" side={<Code text={wanted.topic} what="topic" />}>
      {error && <Problem error={error} again={() => void more(opened)} />}
      {isDone && (
        <p class="muted">
          <span data-test="opened">{plural(open.length, 'message')}</span>, newest last
          {open.length > 1 && <> <button type="button" class="copy" onClick={toNewest}>to the newest</button></>}
          {closed > 0 && <> · {plural(closed, 'envelope')} of this topic {closed === 1 ? 'opens' : 'open'} with another key</>}
          {bent.length > 0 && <> · {plural(bent.length, 'envelope')} {bent.length === 1 ? 'is' : 'are'} no message</>}
        </p>
      )}
      {isDone && opened.seen === 0 && !busy && <Empty><p>This archive has no envelope of that topic and time.</p><p>Names of chats are as they were typed, with small and capital letters told apart.</p></Empty>}
      {isDone && opened.seen > 0 && open.length === 0 && <Empty><p>None of these envelopes opens with this key.</p><p>A topic may be shared by several chats: the name or the password may be another.</p></Empty>}
      <More name="Earlier messages" all="There is nothing earlier." busy={busy} hasMore={!!opened.next} onMore={() => void more(opened)} />
      {busy && !isDone && <p class="muted waiting">{busy}</p>}
      <ol class="messages" data-test="messages" ref={list}>{open.map((one) => one.is === 'open' && <Message key={one.hash} message={one} />)}</ol>
      {bent.length > 0 && (
        <details><summary>{plural(bent.length, 'envelope')} that {bent.length === 1 ? 'is' : 'are'} no message</summary>
          <ul class="rows">{bent.map((one) => <li><Code text={one.hash} short what="hash" /><span class="muted">{one.is === 'bent' && <Foreign text={one.why} />}</span></li>)}</ul>
        </details>
      )}
    </Panel>
  )
}

/** A text; long ones are shown whole when asked for. */
function Said({ text }: { text: string }) {
  const [isWhole, setIsWhole] = useState(text.length <= SHORT)
  return (
    <>
      <p class="said"><Foreign text={isWhole ? text : `${text.slice(0, SHORT)}…`} lines max={MAX_TEXT} /></p>
      {!isWhole && <p><button type="button" class="copy" onClick={() => setIsWhole(true)}>show all {count(text.length)} characters</button></p>}
    </>
  )
}

function colourOf(key: string): string {
  return `c${parseInt(key.slice(-2), 16) % COLOURS}`
}

const FORMATS = {
  'status-transit': 'Status, transit JSON',
  'status-protobuf': 'Status, protobuf',
  text: 'plain text',
  unknown: 'unknown format',
}

function Message({ message }: { message: Extract<OpenedEnvelope, { is: 'open' }> }) {
  const { said, payload } = message
  const author = said.author ?? message.signer
  const courier = author !== message.signer && message.signer
  const name = said.name && <strong><Foreign text={said.name} max={80} /></strong>
  const isUnknown = said.format === 'unknown'
  const remarked = isUnknown ? '' : remark(said)
  return (
    <li data-hash={message.hash} tabIndex={-1}>
      <header>
        {author
          ? <span class="who"><span class={`dot ${colourOf(author)}`} aria-hidden="true" />{name} <code title={author}>{shortKey(author)}</code> <Copy text={author} what="sender’s key" />{courier && <> sent by <code title={courier}>{shortKey(courier)}</code></>}</span>
          : <span class="who">{name} <span class="muted">not signed</span></span>}
        <When at={message.sent} />
      </header>
      {isUnknown && <p class="muted">A body of an unknown application format, <Bytes of={payload.length} />{said.kind && <>: <Foreign text={said.kind} max={120} /></>}</p>}
      {remarked && <p class="muted"><Foreign text={remarked} max={200} /></p>}
      {said.text && !isUnknown && <Said text={said.text} />}
      <details>
        <summary>Details</summary>
        <dl class="pairs">
          <dt>Format</dt><dd>{FORMATS[said.format]}{said.kind && <>: <Foreign text={said.kind} max={120} /></>}</dd>
          {said.chat && <><dt>Chat it names</dt><dd><Foreign text={said.chat} max={200} /></dd></>}
          {!!said.written && said.written < 4.3e12 && <><dt>Written, says the sender</dt><dd><When at={Math.floor(said.written / 1000)} /></dd></>}
          {said.replies_to && <><dt>Message it is about</dt><dd><Foreign text={said.replies_to} max={200} /></dd></>}
          {said.id && <><dt>Status’ name of it</dt><dd><Code text={said.id} what="name" /></dd></>}
          <dt>Envelope</dt><dd><Code text={message.hash} what="hash" /></dd>
          <dt>Envelope’s signer</dt><dd>{message.signer ? <Code text={message.signer} /> : 'none'}</dd>
          {said.author && <><dt>Payload’s signer</dt><dd><Code text={said.author} /></dd></>}
          <dt>Payload</dt><dd><Bytes of={payload.length} /><pre class="hex" tabIndex={0} aria-label="Payload">{shownPayload(payload)}</pre></dd>
        </dl>
      </details>
    </li>
  )
}

/** A payload as text where it is one, else as hex, at most so much of it. */
function shownPayload(payload: Uint8Array) {
  const text = toText(payload)
  return text === null ? `0x${toHex(payload.subarray(0, 1024))}${payload.length > 1024 ? '…' : ''}` : <Foreign text={text} lines max={4_000} />
}
