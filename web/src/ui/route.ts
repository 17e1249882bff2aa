// Which page is shown: all of it stands after `#`, which browsers keep to themselves.
import { useEffect, useState } from 'preact/hooks'

export interface Route {
  /** The first name: the page. */
  page: string
  /** Names after it, decoded. */
  rest: string[]
  /** What stands after `?`. */
  query: URLSearchParams
}

function parse(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  const names = path.split('/').filter(Boolean).map((name) => {
    try {
      return decodeURIComponent(name)
    } catch {
      return name
    }
  })
  return { page: names[0] ?? 'overview', rest: names.slice(1), query: new URLSearchParams(query) }
}

/** The route, and again whenever it changes. */
export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash))
  useEffect(() => {
    const changed = () => setRoute(parse(location.hash))
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return route
}

/** The address of a page, after `#`. */
export function link(names: string[], query: Record<string, string | null | undefined> = {}): string {
  const pairs = Object.entries(query).filter((pair): pair is [string, string] => !!pair[1])
  const asked = new URLSearchParams(pairs).toString()
  return `#/${names.map(encodeURIComponent).join('/')}${asked ? `?${asked}` : ''}`
}

/** Goes to a page. */
export function go(to: string): void {
  location.hash = to.slice(1)
}
