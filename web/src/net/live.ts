// What changes by itself: told by the daemon over server-sent events, and asked for
// now and then where these do not come.
//
// Always true: a page that nobody looks at listens to nothing and asks nothing. A
// browser has six connections to a host for all its tabs together.
import { useEffect, useState } from 'preact/hooks'
import { ApiError, at, get, health, type Health, type Status, type Verify } from './api.ts'

export interface Live {
  /** Whether events come; `asking` where they do not and the page asks instead. */
  link: 'starting' | 'live' | 'asking' | 'lost'
  status: Status | null
  health: Health | null
  verify: Verify | null
  /** Rise when a head was published, and when a peer came or went. */
  heads: number
  peers: number
}

/** How often the page asks where no events come, milliseconds. */
const ASK_EVERY = 5_000
/** How often health is asked for beside events, milliseconds. */
const HEALTH_EVERY = 15_000

let now: Live = {
  link: 'starting', status: null, health: null, verify: null, heads: 0, peers: 0,
}
const watchers = new Set<(live: Live) => void>()

function tell(change: Partial<Live>): void {
  const headBefore = now.status?.head.cid
  const peersBefore = now.status?.peers
  now = { ...now, ...change }
  if (change.status && headBefore !== undefined && headBefore !== change.status.head.cid) now.heads++
  if (change.status && peersBefore !== undefined && peersBefore !== change.status.peers) now.peers++
  for (const watcher of watchers) watcher(now)
}

async function askHealth(): Promise<void> {
  try {
    tell({ health: await health() })
  } catch {
    tell({ health: null, link: 'lost' })
  }
}

async function askStatus(): Promise<void> {
  try {
    tell({ status: await get<Status>('api/v1/status') })
    if (now.link !== 'live') tell({ link: 'asking' })
  } catch (error) {
    if (error instanceof ApiError && error.status === 0) tell({ link: 'lost' })
  }
}

function parsed<T>(event: Event): T | null {
  try {
    return JSON.parse((event as MessageEvent<string>).data) as T
  } catch {
    return null
  }
}

let events: EventSource | null = null

function listen(): void {
  if (events && events.readyState !== EventSource.CLOSED) return
  const source = new EventSource(at('api/v1/events'))
  events = source
  source.onopen = () => tell({ link: 'live' })
  source.onerror = () => {
    if (events !== source) return
    if (now.link === 'live') tell({ link: 'lost' })
    void askStatus()
  }
  source.addEventListener('status', (event) => {
    const status = parsed<Status>(event)
    if (status) tell({ status, link: 'live' })
  })
  source.addEventListener('head', () => tell({ heads: now.heads + 1 }))
  source.addEventListener('peers', () => tell({ peers: now.peers + 1 }))
  source.addEventListener('verify', (event) => {
    const verify = parsed<Verify>(event)
    if (verify && 'running' in verify) tell({ verify })
  })
}

function wake(): void {
  listen()
  void askHealth()
  void askStatus()
}

function rest(): void {
  events?.close()
  events = null
  tell({ link: 'starting' })
}

/** Begins to listen. Called once, when the page starts. */
export function start(): void {
  if (!document.hidden) wake()
  document.addEventListener('visibilitychange', () => (document.hidden ? rest() : wake()))
  setInterval(() => {
    if (document.hidden) return
    void askHealth()
    // A browser gives up where it was refused, as by a proxy whose daemon restarts.
    listen()
  }, HEALTH_EVERY)
  setInterval(() => {
    if (now.link !== 'live' && !document.hidden) void askStatus()
  }, ASK_EVERY)
}

/** What is known now, and again whenever it changes. */
export function useLive(): Live {
  const [live, setLive] = useState(now)
  useEffect(() => {
    watchers.add(setLive)
    setLive(now)
    return () => void watchers.delete(setLive)
  }, [])
  return live
}

export interface Asked<T> {
  data: T | null
  error: ApiError | null
  again: () => void
}

/** What `path` answers; asked again when `path` or one of `when` changes. Null asks nothing. */
export function useApi<T>(path: string | null, ...when: unknown[]): Asked<T> {
  const [state, setState] = useState<{ path: string | null; data: T | null; error: ApiError | null }>(
    { path: null, data: null, error: null },
  )
  const [round, setRound] = useState(0)
  useEffect(() => {
    if (path === null) return undefined
    let isWanted = true
    get<T>(path).then(
      (data) => isWanted && setState({ path, data, error: null }),
      (error: unknown) => {
        if (!isWanted) return
        const told = error instanceof ApiError ? error : new ApiError(String(error), 0)
        setState((before) => ({ path, data: before.path === path ? before.data : null, error: told }))
      },
    )
    return () => {
      isWanted = false
    }
  }, [path, round, ...when])
  const isOf = state.path === path
  return {
    data: isOf ? state.data : null,
    error: isOf ? state.error : null,
    again: () => setRound((before) => before + 1),
  }
}
