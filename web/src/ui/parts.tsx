// Small parts that all pages are made of.
import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { encode } from 'uqr'
import { isNoHead, type ApiError } from '../net/api.ts'
import type { Asked } from '../net/live.ts'
import { bytes, count, instant, nowSeconds, span } from './format.ts'
import { Foreign } from './text.tsx'
import { AskToken } from './token.tsx'

/** An instant in UTC, with the local time as title. */
export function When({ at, ago, brief }: { at: number; ago?: boolean; brief?: boolean }) {
  const local = new Date(at * 1000).toLocaleString(undefined, { timeZoneName: 'short' })
  const utc = `${instant(at)} UTC`
  const now = useNow(ago ? 1_000 : null)
  return (
    <time datetime={new Date(at * 1000).toISOString()} title={ago ? `${utc} (${local})` : local}>
      {ago ? `${span(Math.max(0, now - at))} ago` : brief ? instant(at) : utc}
    </time>
  )
}

/** The present in Unix seconds, anew every so many milliseconds while somebody looks. */
export function useNow(every: number | null): number {
  const [now, setNow] = useState(nowSeconds)
  useEffect(() => {
    if (every === null) return undefined
    const tick = () => {
      if (!document.hidden) setNow(nowSeconds())
    }
    const timer = setInterval(tick, every)
    document.addEventListener('visibilitychange', tick)
    return () => {
      clearInterval(timer)
      document.removeEventListener('visibilitychange', tick)
    }
  }, [every])
  return now
}

/** Bytes with a unit, exact in the title. */
export const Bytes = ({ of }: { of: number }) => <span title={`${count(of)} bytes`}>{bytes(of)}</span>

/** Says something to those who listen instead of looking. */
export function announce(text: string): void {
  const region = document.getElementById('said')
  if (region) region.textContent = text
}

/** Copies a text. Where the page may not, the text is there to be selected. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState<'' | 'copied' | 'select'>('')
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setDone('copied')
      announce(`${what} copied`)
    } catch {
      setDone(copyBySelection(text) ? 'copied' : 'select')
    }
    setTimeout(() => setDone(''), 2_000)
  }
  const told = done === 'copied' ? 'copied' : done === 'select' ? 'select it' : 'copy'
  return (
    <button type="button" class="copy" onClick={() => void copy()} aria-label={`Copy ${what}`}>
      {told}
    </button>
  )
}

/** The way without the clipboard interface, which pages have on loopback and TLS alone. */
function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea')
  area.value = text
  area.className = 'offscreen'
  document.body.append(area)
  area.select()
  const done = document.execCommand('copy')
  area.remove()
  return done
}

/** A CID, linked to its block, with a way to copy it. `short` cuts its middle out. */
export function CidLink({ cid, short, href }: { cid: string; short?: boolean; href?: string }) {
  const shown = short && cid.length > 24 ? `${cid.slice(0, 8)}…${cid.slice(-8)}` : cid
  return (
    <span class="cid">
      <a href={href ?? `#/explore/${cid}`} title={cid}><code>{shown}</code></a>
      <Copy text={cid} what="CID" />
    </span>
  )
}

/** Code of which one may want a copy: topics, hashes, keys. */
export function Code({ text, short, what }: { text: string; short?: boolean; what?: string }) {
  const shown = short && text.length > 22 ? `${text.slice(0, 10)}…${text.slice(-6)}` : text
  return (
    <span class="cid">
      <code title={text}>{shown}</code>
      {what && <Copy text={text} what={what} />}
    </span>
  )
}

/** A part of a page with its heading. */
export function Panel(
  { title, id, children, side, wide }:
  { title: string; id: string; children: ComponentChildren; side?: ComponentChildren; wide?: boolean },
) {
  return (
    <section class={wide ? 'panel wide' : 'panel'} aria-labelledby={id}>
      <header><h2 id={id}>{title}</h2>{side}</header>
      {children}
    </section>
  )
}

/** A figure with its name, and a word beneath. */
export function Figure(
  { name, children, note, tone }:
  { name: string; children: ComponentChildren; note?: ComponentChildren; tone?: 'good' | 'warn' | 'bad' },
) {
  return (
    <div class={`figure ${tone ?? ''}`}>
      <dt>{name}</dt>
      <dd>{children}</dd>
      {note && <dd class="note">{note}</dd>}
    </div>
  )
}

/** Nothing is sealed so far: how every archive begins. */
export const NoHead = () => (
  <Empty><p>There is no head yet.</p><p>What comes in is sealed by itself, every five minutes unless <code>seal-every</code> says otherwise; nothing is to be done.</p></Empty>
)

/** Why something is not there, and what to do. */
export function Problem({ error, again }: { error: ApiError | Error; again?: () => void }) {
  if (isNoHead(error)) return <NoHead />
  const hint = 'hint' in error ? error.hint : null
  const isUnknown = 'status' in error && error.status === 404 && !hint && /^The daemon answers/.test(error.message)
  return (
    <div class="problem" role="alert">
      <p><Foreign text={isUnknown ? 'This daemon does not answer that question: it may be of an older version.' : error.message} /></p>
      {hint && <p class="muted"><Foreign text={hint} /></p>}
      {again && <button type="button" onClick={again}>Try again</button>}
    </div>
  )
}

/** What an answer is turned into; a word while it is waited for, and where it is none. */
export function Answer<T>({ of, children }: { of: Asked<T>; children: (data: T) => ComponentChildren }) {
  if (of.error && of.data === null) return <Problem error={of.error} again={of.again} />
  if (of.data === null) return <p class="muted waiting">Asking the daemon…</p>
  return <>{children(of.data)}</>
}

/** A page of which the daemon tells all or, without its token, nothing. */
export function Guarded<T>({ of, children }: { of: Asked<T>; children: ComponentChildren }) {
  if (of.error?.status !== 401 || of.data !== null) return <div class="stack">{children}</div>
  return <Panel title="Token" id="token"><AskToken error={of.error} again={of.again} /></Panel>
}

/** There is nothing, and what to do about it. */
export const Empty = ({ children }: { children: ComponentChildren }) => <div class="empty">{children}</div>

/** A line to be typed into a terminal, with a way to copy it. */
export const Command = ({ text, what }: { text: string; what: string }) => (
  <p class="line command"><code>{text}</code> <Copy text={text} what={what} /></p>
)

/** The button that brings more of a list, and what it is busy with, if it is. It stays
 * where it is meanwhile, and who pressed it last is led on to the word that this is all. */
export function More(
  { name, all, busy, hasMore, onMore }:
  { name: string; all: string; busy: string; hasMore: boolean; onMore: () => void },
) {
  const end = useRef<HTMLParagraphElement>(null)
  const wasPressed = useRef(false)
  useLayoutEffect(() => {
    if (hasMore || !wasPressed.current) return
    if (document.activeElement === document.body || !document.activeElement) end.current?.focus({ preventScroll: true })
  }, [hasMore])
  if (!hasMore) return wasPressed.current ? <p class="muted" ref={end} tabIndex={-1}>{all}</p> : null
  const press = (event: { currentTarget: HTMLButtonElement }) => {
    if (busy) return
    wasPressed.current = document.activeElement === event.currentTarget
    onMore()
  }
  return (
    <p class="buttons">
      <button type="button" aria-disabled={busy !== ''} onClick={press}>{name}</button>
      <span class={busy ? 'muted waiting' : ''} role="status">{busy}</span>
    </p>
  )
}

/** A table that scrolls by itself where the screen is narrow. */
export function Table({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="scroll" role="group" aria-label={label} tabIndex={0}>
      <table><caption class="offscreen">{label}</caption>{children}</table>
    </div>
  )
}

/** A QR code of a text, drawn as one path. */
export function Qr({ text, label }: { text: string; label: string }) {
  let drawn: { size: number; path: string }
  try {
    const { size, data } = encode(text, { ecc: 'L', border: 4 })
    const path = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ''))).join('')
    drawn = { size, path }
  } catch {
    return <p class="muted">This is too long for a QR code: copy it instead.</p>
  }
  return (
    <svg class="qr" viewBox={`0 0 ${drawn.size} ${drawn.size}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <rect width={drawn.size} height={drawn.size} fill="#fff" />
      <path d={drawn.path} fill="#000" />
    </svg>
  )
}

/** How much of something is done. */
export function Progress({ label, done, total }: { label: string; done: number; total: number | null }) {
  const bar = useRef<HTMLProgressElement>(null)
  useEffect(() => {
    if (total === null) bar.current?.removeAttribute('value')
  }, [total])
  return <progress ref={bar} aria-label={label} max={total || 1} value={total === null ? undefined : done} />
}
