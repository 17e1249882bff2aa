// Numbers, times and texts as people read them.

const COUNT = new Intl.NumberFormat('en')

/** As `19,800`. */
export const count = (value: number): string => COUNT.format(value)

/** As `23.2 MB`: powers of 1,000. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let at = 0
  let rest = value
  while (rest >= 999.5 && at < units.length - 1) {
    rest /= 1000
    at++
  }
  const shown = at === 0 ? String(value) : rest >= 99.5 ? rest.toFixed(0) : rest.toPrecision(3)
  return `${shown} ${units[at]}`
}

const two = (value: number): string => String(value).padStart(2, '0')

/** A day in UTC, as `2018-10-01`. */
export function day(seconds: number): string {
  const at = new Date(seconds * 1000)
  return `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`
}

/** An hour and minute in UTC, as `11:25`. */
export function hour(seconds: number): string {
  const at = new Date(seconds * 1000)
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`
}

/** An instant in UTC, as `2018-10-01 11:25:53`. */
export const instant = (seconds: number): string =>
  `${day(seconds)} ${hour(seconds)}:${two(new Date(seconds * 1000).getUTCSeconds())}`

/** A length of time, as `3 min` or `2 d 4 h`. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  if (s < 3600) return s < 600 && s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 60)} min`
  if (s < 86_400) return withRest(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'min')
  return withRest(Math.floor(s / 86_400), 'd', Math.floor((s % 86_400) / 3600), 'h')
}

function withRest(whole: number, unit: string, rest: number, restUnit: string): string {
  return rest ? `${count(whole)} ${unit} ${rest} ${restUnit}` : `${count(whole)} ${unit}`
}

/** One or several, as `1 peer` and `2 peers`. */
export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`

/** The Unix seconds of an instant in UTC as a field or an address writes it:
 * `2018-10-01T11:25`, with seconds or without, or a day, which is its first second,
 * or its last where it is an end. Null where it is none, as of February 30. */
export function fromField(text: string, isEnd = false): number | null {
  const [, day, time] = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?))?Z?$/.exec(text.trim()) ?? []
  if (!day) return null
  const clock = time === undefined ? (isEnd ? '23:59:59' : '00:00:00') : time.length === 5 ? `${time}:00` : time
  const at = Date.parse(`${day}T${clock}Z`)
  if (Number.isNaN(at) || new Date(at).toISOString().slice(0, 19) !== `${day}T${clock}`) return null
  const seconds = at / 1000
  return seconds >= 0 && seconds <= 0xffff_ffff ? seconds : null
}

/** Whether a text names a day that there is, as `2018-09-15`. */
export const isDay = (text: string): boolean => /^\d{4}-\d{2}-\d{2}$/.test(text) && fromField(text) !== null

/** The same instant as such a field writes it. */
export function toField(seconds: number | null): string {
  return seconds === null ? '' : new Date(seconds * 1000).toISOString().slice(0, 19)
}

/** The present, Unix seconds. */
export const nowSeconds = (): number => Math.floor(Date.now() / 1000)
