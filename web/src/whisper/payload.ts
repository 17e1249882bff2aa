// What applications put into Whisper messages, read for people: the formats of Status'
// chats, and plain text. It says what `gwa read --json` says, and the same vectors hold
// both to it.
//
// Always true: a payload of any other shape is told to be unknown, never guessed at; a
// payload is unwrapped once; strings are what the sender wrote, controls and all.
import { toText } from './bytes.ts'
import { signed, unwrap } from './status.ts'
import { transit } from './transit.ts'

/** Longest payload that is read, bytes. Whisper nodes take envelopes of 1 MiB at most. */
const MAX_PAYLOAD = 1 << 20

/** What a payload says; what it does not say is absent. */
export interface Said {
  /** Of which application format it is. */
  format: 'status-transit' | 'status-protobuf' | 'text' | 'unknown'
  /** What kind of message, in the words of the format. */
  kind?: string
  /** What a reader is shown; of an unknown format the payload itself, where it is UTF-8. */
  text?: string
  /** What comes with the text, or instead of it. */
  attached?: Attached
  /** The name that the sender gives itself. */
  name?: string
  /** The chat that the sender means. */
  chat?: string
  /** The `id` of the message that this one is about. */
  replies_to?: string
  /** When the sender says it was written, Unix milliseconds; beyond 2^53, about. */
  written?: number
  /** The key that signed inside the payload, hex with `0x`; the signature is good. */
  author?: string
  /** How Status names the message, hex with `0x`. */
  id?: string
}

/** A picture of a pack, a picture in the payload, or a recording there (milliseconds). */
export type Attached =
  | { sticker: { hash: string; pack: number } }
  | { image: { bytes: number; encoding: string } }
  | { audio: { bytes: number; duration: number } }

/** Reads a payload. */
export function read(payload: Uint8Array): Said {
  if (payload.length > MAX_PAYLOAD) return { format: 'unknown', kind: 'longer than any message of a chat' }
  const inner = unwrap(payload) ?? payload
  // Within, it is not unwrapped again.
  return inner instanceof Uint8Array ? readLayer(inner) : inner
}

function readLayer(payload: Uint8Array): Said {
  const text = toText(payload)
  return (text !== null && transit(text)) || signed(payload) || plain(text)
}

/** UTF-8 of any other kind. What has controls beside ends of lines and tabs, and JSON of
 * other applications, is nothing that a person wrote as it stands. */
function plain(text: string | null): Said {
  if (!text) return { format: 'unknown' }
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text)) return { format: 'unknown', text }
  return /^\s*[[{]/.test(text) && isJson(text) ? { format: 'unknown', kind: 'JSON', text } : { format: 'text', text }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
