// A year of days: one square each, darker the more was sent.
import type { Month, Where } from '../net/api.ts'
import { bytes, count } from './format.ts'
import { link } from './route.ts'

/** Shades beside that of an empty day. */
const SHADES = 5
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

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

export function Heat({ year, months, chosen }: { year: string; months: Month[]; chosen: string | null }) {
  const byDay = new Map(months.flatMap((month) => month.days.map((day) => [day.day, day] as const)))
  const most = Math.max(1, ...[...byDay.values()].map((day) => day.count))
  return (
    <figure class="heat">
      <table aria-label={`Envelopes by day in ${year}`}>
        <thead>
          <tr><th scope="col"><span class="offscreen">Month</span></th>{Array.from({ length: 31 }, (_, i) => (
            <th scope="col" class={i % 5 === 4 || i === 0 ? '' : 'minor'}>{i + 1}</th>
          ))}</tr>
        </thead>
        <tbody>
          {MONTHS.map((name, m) => {
            const month = String(m + 1).padStart(2, '0')
            const length = new Date(Date.UTC(Number(year), m + 1, 0)).getUTCDate()
            return (
              <tr>
                <th scope="row">{name}</th>
                {Array.from({ length: 31 }, (_, i) => {
                  if (i >= length) return <td class="no" />
                  const name = `${year}-${month}-${String(i + 1).padStart(2, '0')}`
                  const day = byDay.get(name)
                  if (!day) return <td><span class="cell s0" title={`${name}: nothing`} /></td>
                  const where = whereOf(day)
                  const told = `${name}: ${count(day.count)} envelopes, ${bytes(day.bytes)}, ${WHERE_NAMES[where]}`
                  return (
                    <td>
                      <a class={`cell s${shade(day.count, most)} ${where}`} href={link(['archive', name])} title={told}
                        aria-label={told} aria-current={name === chosen ? 'date' : undefined} />
                    </td>
                  )
                })}
              </tr>
            )
          })}
        </tbody>
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
