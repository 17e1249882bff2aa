// The daemon's HTTP interface, as docs/http-api.md describes it.
//
// Always true: every request goes to where this page came from; the token stays in
// this module's memory and goes out only with what changes something, and with
// questions that were refused without it.
import type { WireEnvelope } from '../reader/terms.ts'
import { MAX_BLOCK } from '../archive/blocks.ts'
import { isLoopback } from './address.ts'

export interface Health {
  ok: boolean
  error: string | null
  since: number
  peers: number
  head: string | null
  /** False for a mirror, which follows another archive instead. */
  takes_in?: boolean
  store_error: string | null
  store_failing_since: number | null
  /** Why names lead to no newer head. */
  name_error?: string | null
  last_envelope_age: number | null
}

export interface Status {
  name: string
  enode: string | null
  listen: string | null
  since: number
  peers: number
  max_peers: number
  min_pow: number
  max_message_size: number
  head: { cid: string | null }
  store: Store | null
  pool: { count: number; bytes: number }
  envelopes: {
    received: number; stored: number; duplicate: number; stale: number
    refused: number; failed: number; relayed: number; last_stored: number | null
  }
  requests: { served: number; refused: number; delivered: number }
  p2p?: {
    addresses: string[]; peers: number; wants: number; blocks: number
    bytes: number; dropped: number
    dht?: { reached: boolean; dialable: boolean; roots: number; announced: number }
  }
}

export interface Store {
  store: string
  head: string | null
  seq: number | null
  /** null where the store does not say what it keeps. */
  waiting_files: number | null
  waiting_bytes: number | null
  evicted_files: number
  evicted_bytes: number
  lost_files: number
  failing_since: number | null
  error: string | null
}

export interface Head {
  head: string
  state: string | null
  seq: number
  watermark: number
  count: number
  bytes: number
  key: string
  name: string
  network: string
  signed_at: number
  open: string[]
  added: string | null
  prev: string | null
  skip: string | null
  merged: string[]
}

export interface Stats {
  head: string | null
  state: string | null
  seq: number
  watermark: number
  count: number
  bytes: number
  waiting: number
  kept_from: number
}

export interface Peer {
  id: string
  address: string
  client: string
  inbound: boolean
  static: boolean
  since: number
  bytes_in: number
  bytes_out: number
  packets_in: number
  packets_out: number
  envelopes_in: number
  requests: number
  requests_limited: number
  answered_bytes: number
}

export interface Drop {
  at: number
  reason: string
  peer: string | null
  ip: string
  client: string
  detail: string
  times: number
}

export interface Peers {
  peers: Peer[]
  drops: Drop[]
  reasons: Array<{ reason: string; count: number }>
}

export interface Sums { cid: string; count: number; bytes: number }
export type Where = 'here' | 'store' | 'dropped' | 'elsewhere'
export interface Day extends Sums { day: string; held: boolean; where?: Where }
export interface Month extends Sums { month: string; days: Day[] }
export interface Calendar {
  head: string | null
  seq: number
  watermark: number
  /** What the head holds of the hour that has not closed. */
  open: { count: number; bytes: number }
  years: Array<Sums & { year: string }>
}
export interface Year { year: string; cid: string; months: Month[] }
export interface DayWindows {
  day: string
  cid: string | null
  count: number
  bytes: number
  where: Where
  /** `until` is the first second after. */
  windows: Array<Sums & { from: number; until: number; open: boolean }>
}

export interface Found {
  head: string | null
  envelopes: Array<Omit<WireEnvelope, 'data'> & { data?: string }>
  next?: string | null
  blocks: number
  bytes: number
}

export interface Gaps {
  /** All that came in the time that was looked at. */
  count?: number
  /** `expected` is null where nothing came in all the time that was looked at. */
  gaps: Array<{ from: number; until: number; expected?: number | null; had: number }>
  /** Times whose days are not on this disk, of which nothing is said. */
  unknown?: Array<{ from: number; until: number }>
}

/** `known` is false of an hour whose day is not on this disk. */
export interface Hour { from: number; count: number; bytes: number; known?: boolean }
export interface Traffic { hours: Hour[] }

export interface Share {
  share: string
  head: string
  name?: string | null
  enode?: string | null
  http?: string | null
  urls?: string[]
  p2p?: string[]
}

/** A head whose history was copied and recomputed. */
export interface Verified { head: string; seq: number; at: number }

export interface Mirrors {
  mirrors: Array<{
    address: string; agent: string | null; first: number; last: number
    head?: string | null; seq?: number | null; behind?: number | null
    verified?: Verified | null
    blocks: number; bytes: number
  }>
  following: Array<{
    name: string; purpose: string; asked?: number | null; verified?: Verified | null; trouble?: string | null
  }>
  discovered: Array<{
    archive: string; own: boolean; name?: string | null; head: string; seq: number
    count: number; bytes: number; heard: number; endpoints: string[]; share: string; rival?: string | null
  }>
}

export interface Verify {
  /** `done` and `total` count envelopes. */
  running: null | { phase: string; done: number; total: number | null; bytes: number; started: number }
  last: null | {
    head: string; started: number; took: number; blocks: number; envelopes: number
    days: number; bytes: number; not_held: number; ok: boolean
    faults: Array<{ cid: string | null; what: string }>; fault_count: number
  }
}

export interface Diagnostics {
  version: string
  settings: Array<{ key: string; value: unknown; from: string }>
  limits: Array<{ name: string; value: unknown; reason: string }>
  disk: { free?: number | null; archive?: number | null }
  memory?: number | null
  warnings: Array<{ at: number; level: string; target: string; text: string; times: number }>
  listen: Record<string, unknown>
  reachable?: boolean | null
}

/** Whether an answer is none because nothing was sealed so far. */
export const isNoHead = (error: Error): boolean =>
  error instanceof ApiError && error.status === 404 && error.message === 'there is no head yet'

/** Why an answer is none, in words for people. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly hint: string | null = null,
  ) {
    super(message)
  }
}

/** The longest that people are kept waiting, milliseconds. The daemon itself gives up later. */
const PATIENCE = 60_000

let token = ''
/** Paths that were refused without the token. */
const guarded = new Set<string>()
const pathOf = (path: string): string => path.split('?')[0]!

/** Keeps the token until the page is closed. */
export function setToken(given: string): void {
  token = given.trim()
}

export const hasToken = (): boolean => token !== ''

/** Whether what this page sends can be read on its way: plain HTTP from another machine. */
export const isExposed = (): boolean => location.protocol === 'http:' && !isLoopback(location.hostname)

const bearer = (): Record<string, string> => (token ? { authorization: `Bearer ${token}` } : {})

/** An address below where this page came from. */
export const at = (path: string): URL => new URL(path, document.baseURI)

async function answered(path: string, options: RequestInit = {}): Promise<Response> {
  let response: Response
  try {
    response = await fetch(at(path), {
      credentials: 'omit', redirect: 'error', signal: AbortSignal.timeout(PATIENCE), ...options,
    })
  } catch (error) {
    const late = error instanceof DOMException && error.name === 'TimeoutError'
    throw late
      ? new ApiError('The daemon did not answer within a minute.', 0, 'It may be busy: try again.')
      : new ApiError('The daemon does not answer.', 0, 'Is `gwa serve` still running?')
  }
  if (response.ok) return response
  const text = (await response.text()).slice(0, 2_000)
  let told: { error?: unknown; hint?: unknown } = {}
  try {
    told = JSON.parse(text)
  } catch {
    // Words, not JSON: shown as they are.
  }
  const said = typeof told?.error === 'string' ? told.error : text.trim()
  const hint = typeof told?.hint === 'string' ? told.hint : null
  throw new ApiError(said || `The daemon answers ${response.status}.`, response.status, hint)
}

/** What `path` answers, as JSON. */
export async function get<T>(path: string): Promise<T> {
  const ask = async () => {
    const headers = guarded.has(pathOf(path)) ? bearer() : {}
    return (await (await answered(path, { headers })).json()) as T
  }
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error
    const isNew = !guarded.has(pathOf(path))
    guarded.add(pathOf(path))
    if (isNew && hasToken()) return ask()
    throw error
  }
}

/** `/health`, which answers 503 with the same words where something is wrong. */
export async function health(): Promise<Health> {
  try {
    const response = await fetch(at('health'), {
      credentials: 'omit', redirect: 'error', signal: AbortSignal.timeout(PATIENCE),
    })
    const told = (await response.json()) as Partial<Health>
    // A daemon with too much to do says so as JSON too.
    if (typeof told.ok !== 'boolean') throw new Error('no health')
    return told as Health
  } catch {
    throw new ApiError('The daemon does not answer.', 0, 'Is `gwa serve` still running?')
  }
}

/** Asks for something to be done, with the token. */
export async function post(path: string): Promise<void> {
  await answered(path, { method: 'POST', headers: bearer() })
}

/** The bytes of a block, as they come: to be hashed before they are looked at. */
export async function rawBlock(cid: string): Promise<Uint8Array> {
  let response: Response
  try {
    response = await answered(`ipfs/${cid}?format=raw`)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) {
      const hint = 'It was dropped from this disk, lies at the store, or belongs to another archive.'
      throw new ApiError('This daemon does not have the block.', 404, hint)
    }
    throw error
  }
  const length = Number(response.headers.get('content-length') ?? 0)
  if (length > MAX_BLOCK) throw new ApiError('This block is above 2 MiB and is not read.', 0)
  return new Uint8Array(await response.arrayBuffer())
}
