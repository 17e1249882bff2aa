// What is in it: years down to hours, and the heads that named it.
import { useState } from 'preact/hooks'
import { ApiError, get, isNoHead, type Calendar, type Day, type DayWindows, type Head, type Month, type Year } from '../net/api.ts'
import { useApi, type Live } from '../net/live.ts'
import { count, fromField, hour, isDay, plural, toField } from '../ui/format.ts'
import { Heat, WHERE_NAMES, whereOf } from '../ui/heat.tsx'
import { Lineage } from '../ui/lineage.tsx'
import { Answer, Bytes, CidLink, Empty, More, NoHead, Panel, Problem, Table, When } from '../ui/parts.tsx'
import { link, type Route } from '../ui/route.ts'
import { Foreign } from '../ui/text.tsx'

/** Heads of a page. */
const HEADS = 50

export function Archive({ route, live }: { route: Route; live: Live }) {
  const calendar = useApi<Calendar>('api/v1/calendar', live.heads)
  const asked = route.rest[0] ?? null
  const chosenDay = asked && isDay(asked) ? asked : null
  const isYear = asked !== null && /^\d{4}$/.test(asked)
  return (
    <div class="stack">
      {asked !== null && !chosenDay && !isYear && (
        <div class="problem" role="alert"><p>“<Foreign text={asked} max={60} />” is no year and no day of the calendar. Days are written as <code>2018-09-15</code>.</p></div>
      )}
      {calendar.error && isNoHead(calendar.error) ? <Panel title="Calendar" id="calendar"><NoHead /></Panel> : <Answer of={calendar}>{(it) => {
        const newest = it.years.at(-1)?.year ?? null
        const year = chosenDay?.slice(0, 4) ?? (isYear ? asked : newest)
        if (year === null || it.years.length === 0) {
          return (
            <Panel title="Calendar" id="calendar">
              <Empty><p>No hour is closed yet{it.open.count > 0 && <>; {plural(it.open.count, 'envelope')} of the open one are sealed</>}.</p><p>What peers bring is here within minutes; an hour closes two minutes after it ended. To take in what others kept, stop the daemon, run <code>gwa import FILE</code>, and start it again.</p></Empty>
            </Panel>
          )
        }
        return (
          <>
            <Panel title="Years" id="years" side={<span class="muted">sealed up to {it.watermark ? <When at={it.watermark} /> : 'nothing'}</span>}>
              <ul class="years">
                {it.years.map((one) => (
                  <li>
                    <a href={link(['archive', one.year])} aria-current={one.year === year ? 'true' : undefined}>
                      <strong>{one.year}</strong><span>{plural(one.count, 'envelope')}</span><span class="muted"><Bytes of={one.bytes} /></span>
                    </a>
                  </li>
                ))}
              </ul>
              {it.open.count > 0 && <p class="muted">Beside them {plural(it.open.count, 'envelope')} of the hour that has not closed, <Bytes of={it.open.bytes} /></p>}
            </Panel>
            <YearPanel year={year} chosen={chosenDay} live={live} head={it.head} />
          </>
        )
      }}</Answer>}
      <Heads live={live} />
    </div>
  )
}

function YearPanel({ year, chosen, live, head }: { year: string; chosen: string | null; live: Live; head: string | null }) {
  const asked = useApi<Year>(`api/v1/calendar?year=${encodeURIComponent(year)}`, live.heads)
  return (
    <>
      <Panel title={`Days of ${year}`} id="days" side={asked.data && <CidLink cid={asked.data.cid} short href={head ? link(['explore', head, 'state', year]) : undefined} />}>
        <Answer of={asked}>{(it) => (
          <>
            <Heat year={year} months={it.months} chosen={chosen} />
            <Table label={`Months of ${year}`}>
              <thead><tr><th scope="col">Month</th><th scope="col">Days</th><th scope="col" class="num">Envelopes</th><th scope="col" class="num">Size</th><th scope="col">CID</th></tr></thead>
              <tbody>
                {it.months.map((month) => <MonthRows key={month.month} month={month} head={head} chosen={chosen} />)}
              </tbody>
            </Table>
          </>
        )}</Answer>
      </Panel>
      {chosen && <DayPanel day={chosen} live={live} head={head} year={asked.data} />}
    </>
  )
}

/** A month, and on demand a row for each of its days: the way to a day without the map. */
function MonthRows({ month, head, chosen }: { month: Month; head: string | null; chosen: string | null }) {
  const [isOpen, setIsOpen] = useState(false)
  const place = ['explore', head ?? '', 'state', month.month.slice(0, 4), month.month.slice(5)]
  return (
    <>
      <tr>
        <td><button type="button" class="fold" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>{month.month}</button></td>
        <td>{count(month.days.length)}</td><td class="num">{count(month.count)}</td><td class="num"><Bytes of={month.bytes} /></td>
        <td><CidLink cid={month.cid} short href={head ? link(place) : undefined} /></td>
      </tr>
      {isOpen && month.days.map((day: Day) => (
        <tr class="sub">
          <td><a href={link(['archive', day.day])} aria-current={day.day === chosen ? 'date' : undefined}>{day.day}</a></td>
          <td>{WHERE_NAMES[whereOf(day)]}</td><td class="num">{count(day.count)}</td><td class="num"><Bytes of={day.bytes} /></td>
          <td><CidLink cid={day.cid} short href={head ? link([...place, day.day.slice(8)]) : undefined} /></td>
        </tr>
      ))}
    </>
  )
}

function DayPanel({ day, live, head, year }: { day: string; live: Live; head: string | null; year: Year | null }) {
  const asked = useApi<DayWindows>(`api/v1/days/${encodeURIComponent(day)}`, live.heads)
  const told = year?.months.flatMap((month) => month.days).find((one) => one.day === day)
  const place = head ? ['explore', head, 'state', day.slice(0, 4), day.slice(5, 7), day.slice(8)] : null
  return (
    <Panel title={day} id="day" side={<a href={link(['explore'], { from: toField(fromField(day)), to: toField(fromField(day, true)) })}>Its envelopes</a>}>
      <Answer of={asked}>{(it) => (
        <>
          <p>
            <strong data-test="day-count">{plural(it.count, 'envelope')}</strong>, <Bytes of={it.bytes} />
            {told && <>, {WHERE_NAMES[whereOf(told)]}</>}{it.cid && <> · <CidLink cid={it.cid} short href={place ? link(place) : undefined} /></>}
          </p>
          <Table label={`Windows of ${day}`}>
            <thead><tr><th scope="col">Window, UTC</th><th scope="col">State</th><th scope="col" class="num">Envelopes</th><th scope="col" class="num">Size</th><th scope="col">CID</th></tr></thead>
            <tbody>
              {it.windows.map((one) => (
                <tr>
                  <td>{hour(one.from)} to {one.until % 86_400 === 0 ? '24:00' : hour(one.until)}</td>
                  <td>{one.open ? <span class="tag">open</span> : 'closed'}</td>
                  <td class="num">{count(one.count)}</td><td class="num"><Bytes of={one.bytes} /></td>
                  <td><CidLink cid={one.cid} short /></td>
                </tr>
              ))}
            </tbody>
          </Table>
        </>
      )}</Answer>
    </Panel>
  )
}

function Heads({ live }: { live: Live }) {
  const first = useApi<{ heads: Head[]; next: number | null }>(`api/v1/heads?limit=${HEADS}`, live.heads)
  const [older, setOlder] = useState<{ of: string; heads: Head[]; next: number | null } | null>(null)
  const [error, setError] = useState<ApiError | null>(null)
  const newest = first.data?.heads[0]?.head ?? ''
  const isOf = older?.of === newest
  const heads = [...(first.data?.heads ?? []), ...(isOf ? older!.heads : [])]
  const next = isOf ? older!.next : (first.data?.next ?? null)
  const [isBusy, setIsBusy] = useState(false)
  const more = async () => {
    setIsBusy(true)
    try {
      const page = await get<{ heads: Head[]; next: number | null }>(`api/v1/heads?limit=${HEADS}&before=${next}`)
      setError(null)
      setOlder({ of: newest, heads: [...(isOf ? older!.heads : []), ...page.heads], next: page.next })
    } catch (failed) {
      setError(failed as ApiError)
    }
    setIsBusy(false)
  }
  return (
    <Panel title="Heads" id="heads" side={<span class="muted">newest first; a head names all before it</span>}>
      <Answer of={first}>{() => <Lineage heads={heads} goesOn={next !== null} />}</Answer>
      <More name="Older heads" all="These are all heads." busy={isBusy ? 'Reading heads…' : ''} hasMore={next !== null} onMore={() => void more()} />
      {error && <Problem error={error} again={() => void more()} />}
    </Panel>
  )
}
