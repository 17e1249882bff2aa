// The explorer: its frame, and which page is in it.
import { Component, render, type ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { ApiError } from './net/api.ts'
import { start, useLive, type Live } from './net/live.ts'
import { Archive } from './pages/archive.tsx'
import { Diagnostics } from './pages/diagnostics.tsx'
import { Explore } from './pages/explore.tsx'
import { Mirrors } from './pages/mirrors.tsx'
import { Overview } from './pages/overview.tsx'
import { Peers } from './pages/peers.tsx'
import { Read } from './pages/read.tsx'
import { Verify } from './pages/verify.tsx'
import { span } from './ui/format.ts'
import { Problem, useNow } from './ui/parts.tsx'
import { useRoute, type Route } from './ui/route.ts'
import { standing } from './ui/standing.ts'
import { startTheme, ThemeSwitch } from './ui/theme.tsx'

const PAGES = {
  overview: { name: 'Overview', show: Overview },
  archive: { name: 'Archive', show: Archive },
  explore: { name: 'Explore', show: Explore },
  read: { name: 'Read', show: Read },
  mirrors: { name: 'Mirrors', show: Mirrors },
  peers: { name: 'Peers', show: Peers },
  verify: { name: 'Verify', show: Verify },
  diagnostics: { name: 'Diagnostics', show: Diagnostics },
} satisfies Record<string, { name: string; show: (props: { route: Route; live: Live }) => unknown }>

/** How the daemon is. Only the word itself is told to those who listen, when it changes:
 * the age beside it changes for ever. */
function Pulse({ live }: { live: Live }) {
  const now = useNow(5_000)
  const { tone, words } = standing(live)
  const last = live.status?.envelopes.last_stored
  return (
    <span class="pulse">
      <span class={`dot ${tone ?? ''}`} aria-hidden="true" />
      <span role="status">{words}</span>
      {tone === 'good' && last ? <span class="muted"> · last envelope {span(now - last)} ago</span> : null}
    </span>
  )
}

/** A page that fails while it is drawn is told; the others go on. */
class Boundary extends Component<{ route: Route; children: ComponentChildren }, { error: Error | null }> {
  override state = { error: null }

  override componentDidCatch(error: unknown) {
    this.setState({ error: error instanceof Error ? error : new Error(String(error)) })
  }

  override componentDidUpdate(before: { route: Route }) {
    if (this.state.error && before.route !== this.props.route) this.setState({ error: null })
  }

  override render() {
    const error: Error | null = this.state.error
    if (!error) return this.props.children
    return <Problem error={new ApiError('This page cannot be drawn.', 0, (error as Error).message)} again={() => this.setState({ error: null })} />
  }
}

function App() {
  const route = useRoute()
  const live = useLive()
  const name = (Object.hasOwn(PAGES, route.page) ? route.page : 'overview') as keyof typeof PAGES
  const page = PAGES[name]
  const heading = useRef<HTMLHeadingElement>(null)
  const [shown, setShown] = useState(name)
  useEffect(() => {
    document.title = `${page.name} · Global Whisper Archive`
    if (shown !== name) {
      setShown(name)
      scrollTo(0, 0)
      heading.current?.focus({ preventScroll: true })
    }
  }, [name])
  const Shown = page.show
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault()
        heading.current?.focus()
      }}>Skip to the page</a>
      <header class="top">
        <a class="brand" href="#/overview"><img src="icon.svg" alt="" width="22" height="22" /><span>Global Whisper Archive</span></a>
        <Pulse live={live} />
        <ThemeSwitch />
      </header>
      <nav aria-label="Pages">
        <ul>
          {Object.entries(PAGES).map(([key, { name: title }]) => (
            <li><a href={`#/${key}`} aria-current={key === name ? 'page' : undefined}>{title}</a></li>
          ))}
        </ul>
      </nav>
      <main id="main">
        <h1 ref={heading} tabIndex={-1}>{page.name}</h1>
        <Boundary route={route} key={name}><Shown route={route} live={live} /></Boundary>
      </main>
      <footer><span>{live.status?.name ?? 'gwa'}</span><span>{LINKS[live.link]}</span><span>Times are UTC</span><a href="third-party.txt">Licences</a></footer>
      <p id="said" class="offscreen" aria-live="polite" />
    </>
  )
}

const LINKS = {
  starting: 'connecting',
  live: 'live',
  asking: 'asked every 5 s',
  lost: 'no connection',
}

startTheme()
start()
const root = document.getElementById('app')!
root.replaceChildren()
render(<App />, root)
