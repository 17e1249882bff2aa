// A year of days: one square each, darker the more was sent. One stop for Tab; arrows
// lead from day to day. A month is a row, or a column where the screen is narrow, so
// that a finger hits a day.
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Day, Month, Where } from '../net/api.ts'
import { bytes, count } from './format.ts'
import { link } from './route.ts'

/** Shades beside that of an empty day. */
const SHADES = 5
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
/** Where rows of 31 days have no room for fingers. */
const NARROW = '(max-width: 820px)'

export const whereOf = (day: { held: boolean; where?: Where }): Where =>
  day.where ?? (day.held ? 'here' : 'dropped')

export const WHERE_NAMES: Record<Where, string> = {
  here: 'on this disk',
  store: 'at the store only',
  dropped: 'dropped from here',
  elsewhere: 'never copied here',
}

/** 1 to `SHADES`: by the share of the busiest day. */
function shade(value: number, most: number): number {
  return value === 0 ? 0 : Math.ceil((value / most) * SHADES)
}

function useNarrow(): boolean {
  const [isNarrow, setIsNarrow] = useState(() => matchMedia(NARROW).matches)
  useEffect(() => {
    const media = matchMedia(NARROW)
    const changed = () => setIsNarrow(media.matches)
    media.addEventListener('change', changed)
    return () => media.removeEventListener('change', changed)
  }, [])
  return isNarrow
}

/** The day that a key leads to from `at`, among `days` in their order; null for none.
 * Two arrows lead along a month, two from one month to another. */
export function dayAfter(days: string[], at: string, key: string, isNarrow: boolean): string | null {
  const [back, forth, before, after] = isNarrow
    ? ['ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight']
    : ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown']
  const index = days.indexOf(at)
  switch (key) {
    case back: return days[index - 1] ?? null
    case forth: return days[index + 1] ?? null
    case 'Home': return days[0] ?? null
    case 'End': return days.at(-1) ?? null
    case before: case after: {
      const isLater = key === after
      const [month, day] = [at.slice(0, 7), Number(at.slice(8))]
      const others = days.filter((one) => (isLater ? one.slice(0, 7) > month : one.slice(0, 7) < month))
      const next = isLater ? others[0]?.slice(0, 7) : others.at(-1)?.slice(0, 7)
      const inIt = others.filter((one) => one.slice(0, 7) === next)
      const far = (one: string) => Math.abs(Number(one.slice(8)) - day)
      return inIt.reduce<string | null>((best, one) => (best === null || far(one) < far(best) ? one : best), null)
    }
    default: return null
  }
}

export function Heat({ year, months, chosen }: { year: string; months: Month[]; chosen: string | null }) {
  const isNarrow = useNarrow()
  const table = useRef<HTMLTableElement>(null)
  const [focused, setFocused] = useState<string | null>(null)
  const byDay = new Map(months.flatMap((month) => month.days.map((day) => [day.day, day] as const)))
  const days = [...byDay.keys()].sort()
  const most = Math.max(1, ...[...byDay.values()].map((day) => day.count))
  const stop = [focused, chosen, days.at(-1)].find((day) => day && byDay.has(day))
  const move = (event: KeyboardEvent) => {
    const at = (event.target as HTMLElement).dataset['day']
    if (!at || event.ctrlKey || event.metaKey || event.altKey) return
    const to = dayAfter(days, at, event.key, isNarrow)
    if (!to) return
    event.preventDefault()
    setFocused(to)
    table.current?.querySelector<HTMLElement>(`[data-day="${to}"]`)?.focus()
  }
  const cell = (m: number, i: number) => {
    const month = String(m + 1).padStart(2, '0')
    if (i >= new Date(Date.UTC(Number(year), m + 1, 0)).getUTCDate()) return <td class="no" />
    const name = `${year}-${month}-${String(i + 1).padStart(2, '0')}`
    const day = byDay.get(name)
    if (!day) return <td><span class="cell s0" title={`${name}: nothing`} /></td>
    return <td><Cell day={day} most={most} isChosen={name === chosen} isStop={name === stop} /></td>
  }
  const dayHead = (i: number, scope: string) => <th scope={scope} class={i % 5 === 4 || i === 0 ? '' : 'minor'}>{i + 1}</th>
  const numbers = Array.from({ length: 31 }, (_, i) => i)
  const narrow = () => (
    <>
      <thead><tr><th scope="col"><span class="offscreen">Day</span></th>{MONTHS.map((name) => <th scope="col">{name}</th>)}</tr></thead>
      <tbody>{numbers.map((i) => <tr>{dayHead(i, 'row')}{MONTHS.map((_, m) => cell(m, i))}</tr>)}</tbody>
    </>
  )
  const wide = () => (
    <>
      <thead><tr><th scope="col"><span class="offscreen">Month</span></th>{numbers.map((i) => dayHead(i, 'col'))}</tr></thead>
      <tbody>{MONTHS.map((name, m) => <tr><th scope="row">{name}</th>{numbers.map((i) => cell(m, i))}</tr>)}</tbody>
    </>
  )
  return (
    <figure class="heat">
      <p class="offscreen" id="heat-keys">Arrow keys lead from day to day.</p>
      <table ref={table} role="grid" class={isNarrow ? 'narrow' : ''} aria-label={`Envelopes by day in ${year}`} aria-describedby="heat-keys"
        onKeyDown={move} onFocusCapture={(event) => setFocused((event.target as HTMLElement).dataset['day'] ?? null)}>
        {isNarrow ? narrow() : wide()}
      </table>
      <figcaption>
        <span>fewer</span>
        {Array.from({ length: SHADES + 1 }, (_, i) => <span class={`cell s${i}`} aria-hidden="true" />)}
        <span>more; at most {count(most)} a day</span>
        {[...byDay.values()].some((day) => whereOf(day) !== 'here') && (
          <><span class="cell s3 dropped" aria-hidden="true" /><span>not on this disk</span></>
        )}
      </figcaption>
    </figure>
  )
}

function Cell({ day, most, isChosen, isStop }: { day: Day; most: number; isChosen: boolean; isStop: boolean }) {
  const where = whereOf(day)
  const told = `${day.day}: ${count(day.count)} envelopes, ${bytes(day.bytes)}, ${WHERE_NAMES[where]}`
  return (
    <a class={`cell s${shade(day.count, most)} ${where}`} href={link(['archive', day.day])} title={told} aria-label={told}
      data-day={day.day} tabIndex={isStop ? 0 : -1} aria-current={isChosen ? 'date' : undefined} />
  )
}
