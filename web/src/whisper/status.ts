// What Status put into the messages of public chats: first transit JSON,
// `["~#c4", [text, content type, message type, clock, timestamp, {..}]]`, later
// protobuf, a signed wrapper around a chat message.
//
// Always true: a payload of any other shape is told to be unknown, never guessed at;
// what is shown as text is what the sender wrote.
import { toText } from './bytes.ts'
import { signerOf } from './message.ts'

/** What a payload says. */
export interface Said {
  /** Of which application format it is. */
  format: 'status-transit' | 'status-protobuf' | 'text' | 'unknown'
  /** What a reader is shown; null where the format is unknown or no text. */
  text: string | null
  /** The chat that the sender named; null for none. */
  chat: string | null
  /** When the sender says it was written, Unix milliseconds. */
  written: number | null
  /** What kind of message, in the format's own words. */
  kind: string | null
  /** A name that the sender gave itself. */
  name: string | null
  /** The key that signed inside the payload, hex; null for none. */
  author: string | null
}

const NOTHING: Said = {
  format: 'unknown', text: null, chat: null, written: null, kind: null, name: null, author: null,
}

/** Reads a payload. */
export function read(payload: Uint8Array): Said {
  const text = toText(payload)
  return (text !== null && transit(text)) || protobuf(payload) || plain(text)
}

function plain(text: string | null): Said {
  // Control characters beside ends of lines and tabs are no sign of a text.
  if (text === null || text === '' || /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text)) return NOTHING
  // JSON of another application is not what a person wrote.
  const isData = /^\s*[[{]/.test(text) && isJson(text)
  return isData ? { ...NOTHING, text } : { ...NOTHING, format: 'text', text }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function transit(text: string): Said | null {
  if (!text.startsWith('["~#')) return null
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (!Array.isArray(value) || value.length !== 2 || !Array.isArray(value[1])) return null
  if (value[0] !== '~#c4') {
    return { ...NOTHING, kind: typeof value[0] === 'string' ? value[0].slice(2) : null }
  }
  const [content, type, kind, , written, more] = value[1] as unknown[]
  const map = mapOf(more)
  return {
    ...NOTHING,
    format: 'status-transit',
    text: string(content) ?? string(map.get('~:text')),
    chat: string(map.get('~:chat-id')),
    written: typeof written === 'number' && Number.isFinite(written) ? written : null,
    kind: [string(kind), string(type)].filter(Boolean).join(', ') || null,
  }
}

/** The pairs of a transit map, `["^ ", key, value, ..]`. */
function mapOf(value: unknown): Map<unknown, unknown> {
  const out = new Map<unknown, unknown>()
  if (!Array.isArray(value) || value[0] !== '^ ') return out
  for (let i = 1; i + 1 < value.length; i += 2) out.set(value[i], value[i + 1])
  return out
}

/** A transit string: `~:` marks keywords, `~~` and `~^` are escapes. */
function string(value: unknown): string | null {
  if (typeof value !== 'string') return null
  if (value.startsWith('~:') || value.startsWith('~~') || value.startsWith('~^')) {
    return value.startsWith('~:') ? value.slice(2) : value.slice(1)
  }
  return value
}

/** Type 1 of the wrapper: a message of a chat. */
const CHAT_MESSAGE = 1n
const CONTENT = ['unknown', 'text', 'sticker', 'status', 'emoji', 'command', 'group event', 'image', 'audio']

function protobuf(payload: Uint8Array): Said | null {
  const wrapper = fieldsOf(payload)
  const signature = wrapper?.get(1)
  const inner = wrapper?.get(2)
  if (!wrapper || !(signature instanceof Uint8Array) || !(inner instanceof Uint8Array)) return null
  if (![...wrapper.keys()].every((number) => number <= 3)) return null
  let author: string
  try {
    author = signerOf(inner, signature)
  } catch {
    return null
  }
  const type = wrapper.get(3)
  const known = { ...NOTHING, format: 'status-protobuf' as const, author }
  if (type !== CHAT_MESSAGE) return { ...known, kind: `message of type ${String(type ?? 0)}` }
  const message = fieldsOf(inner)
  if (!message) return { ...known, kind: 'a chat message that does not read' }
  const text = (number: number) => {
    const value = message.get(number)
    return value instanceof Uint8Array && value.length > 0 ? toText(value) : null
  }
  const number = (field: number) => {
    const value = message.get(field)
    return typeof value === 'bigint' ? Number(value) : null
  }
  const content = number(8) ?? 0
  return {
    ...known,
    text: text(3),
    name: text(5),
    chat: text(6),
    written: number(2),
    kind: CONTENT[content] ?? `content of type ${content}`,
  }
}

/** The fields of a protobuf message, the last of each number; null where it is none. */
export function fieldsOf(bytes: Uint8Array): Map<number, bigint | Uint8Array> | null {
  const out = new Map<number, bigint | Uint8Array>()
  let at = 0
  const varint = (): bigint | null => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined) return null
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    return null
  }
  while (at < bytes.length) {
    const tag = varint()
    if (tag === null || tag >> 3n === 0n || tag >> 3n > 536_870_911n) return null
    const field = Number(tag >> 3n)
    switch (Number(tag & 7n)) {
      case 0: {
        const value = varint()
        if (value === null) return null
        out.set(field, value)
        break
      }
      case 2: {
        const length = varint()
        if (length === null || length > BigInt(bytes.length - at)) return null
        out.set(field, bytes.subarray(at, at + Number(length)))
        at += Number(length)
        break
      }
      case 1:
      case 5:
        at += (tag & 7n) === 1n ? 8 : 4
        if (at > bytes.length) return null
        break
      default:
        return null
    }
  }
  return out
}
