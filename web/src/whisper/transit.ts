// Messages of Status before 2020: a tagged value of transit in its JSON form,
// `["~#c4", [text, content type, message type, clock, timestamp, {..}]]`.
//
// Always true: only tags that Status is known to have used are taken for its own.
import type { Attached, Said } from './payload.ts'

/** What tags mean that are no messages of chats. */
const KINDS = new Map([
  ['c1', 'new contact key'],
  ['c2', 'contact request'],
  ['c3', 'contact request confirmed'],
  ['c5', 'messages seen'],
  ['c6', 'contact update'],
  ['p1', 'sync installation'],
  ['p2', 'pair installation'],
  ['g5', 'membership update'],
])
/** Of those, which say first how the sender calls itself. */
const NAMED = ['c2', 'c3', 'c6']
/** Half a character, which is none. */
const HALF = /\p{Surrogate}/u
/** What nests deeper is no message. */
const DEEPEST = 127

/** Reads a message; null for what is not a tagged value of transit. */
export function transit(text: string): Said | null {
  const value = text.startsWith('["~#') ? parse(text) : null
  if (!Array.isArray(value) || value.length !== 2 || !Array.isArray(value[1])) return null
  const tag = (value[0] as string).slice(2)
  const values = value[1] as unknown[]
  if (tag === 'c4' || tag === 'c7') return chatMessage(values)
  const kind = KINDS.get(tag)
  if (!kind) return { format: 'unknown', kind: `transit ${tag}` }
  return { format: 'status-transit', kind, name: NAMED.includes(tag) ? string(values[0]) : undefined }
}

function parse(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return fits(value, 0) ? value : null
  } catch {
    return null
  }
}

/** Whether every string is Unicode and every number finite, to no great depth. */
function fits(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return !HALF.test(value)
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return true
  return depth < DEEPEST && Object.entries(value).flat().every((each) => fits(each, depth + 1))
}

function chatMessage(values: unknown[]): Said {
  // What is more than a text stands in the text's place, or after all others.
  const map = mapOf(values[5]) ?? mapOf(values[0])
  return {
    format: 'status-transit',
    text: string(values[0]) ?? string(map?.get('~:text')),
    kind: [string(values[2]), string(values[1])].filter(Boolean).join(', ') || undefined,
    attached: sticker(string(map?.get('~:hash')), map?.get('~:pack')),
    chat: string(map?.get('~:chat-id')),
    replies_to: string(map?.get('~:response-to-v2')),
    written: isTime(values[4]) ? values[4] : undefined,
  }
}

/** A whole number of 64 bits. */
const isTime = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 64

/** A sticker is a map with its hash and its pack. */
function sticker(hash: string | undefined, pack: unknown): Attached | undefined {
  return hash !== undefined && typeof pack === 'number' && (pack | 0) === pack ? { sticker: { hash, pack } } : undefined
}

/** The pairs of a transit map, `["^ ", key, value, ..]`; of equal keys the last. */
function mapOf(value: unknown): Map<unknown, unknown> | undefined {
  if (!Array.isArray(value) || value[0] !== '^ ') return undefined
  const out = new Map<unknown, unknown>()
  for (let i = 1; i + 1 < value.length; i += 2) out.set(value[i], value[i + 1])
  return out
}

/** A string or a keyword: `~:` marks keywords; `~~`, `~^` and `` ~` `` are escapes. */
const string = (value: unknown): string | undefined =>
  typeof value === 'string' ? value.replace(/^(?:~:|~(?=[~^`]))/, '') : undefined
