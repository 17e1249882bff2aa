// Messages of Status since 2020: protobuf. A wrapper holds a message, its type, and the
// author's signature over the message; older clients put what they publish into one more
// layer, that of encryption between two devices, where it stays open.
//
// Always true: a wrapper is what its bytes are made of to the last one. Of the message
// inside, fields that are not named here are passed over: Status adds to them.
import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, fromHex, toHex } from './bytes.ts'
import { SIGNATURE, signerOf } from './message.ts'
import type { Attached, Said } from './payload.ts'
import { decode, whole, type Shape, type Told } from './protobuf.ts'

const WRAPPER = { signature: [1, 'bytes'], message: [2, 'bytes'], type: [3, 'int32'] } as const satisfies Shape
/** What devices send one another. */
const LAYER = {
  oldBundle: [1, 'bytes'], installation: [2, 'text'], bundles: [3, 'list'],
  direct: [101, 'list'], published: [102, 'bytes'],
} as const satisfies Shape
/** Keys of a sender's devices. */
const BUNDLE = {
  identity: [1, 'bytes'], preKeys: [2, 'list'], signature: [4, 'bytes'], made: [5, 'uint64'],
} as const satisfies Shape

const CHAT_MESSAGE = {
  written: [2, 'uint64'], text: [3, 'text'], replies_to: [4, 'text'], ens: [5, 'text'], chat: [6, 'text'],
  content: [8, 'int32'],
  sticker: [9, { hash: [1, 'text'], pack: [2, 'int32'] }],
  image: [10, { bytes: [1, 'bytes'], encoding: [2, 'int32'] }],
  audio: [11, { bytes: [1, 'bytes'], duration: [3, 'uint64'] }],
  name: [14, 'text'],
} as const satisfies Shape
const CONTACT_UPDATE = { ens: [2, 'text'], name: [4, 'text'] } as const satisfies Shape
const EMOJI_REACTION = {
  chat: [2, 'text'], replies_to: [3, 'text'], emoji: [5, 'int32'], retracted: [6, 'bool'],
} as const satisfies Shape
const PIN_MESSAGE = { replies_to: [2, 'text'], chat: [3, 'text'], pinned: [4, 'bool'] } as const satisfies Shape
const EDIT_MESSAGE = { text: [2, 'text'], chat: [3, 'text'], replies_to: [4, 'text'] } as const satisfies Shape
const DELETE_MESSAGE = { chat: [2, 'text'], replies_to: [3, 'text'] } as const satisfies Shape

/** Types of messages by their number. */
const TYPES = [
  'unknown', 'chat message', 'contact update', 'membership update', 'pair installation', 'sync installation',
  'request for an address', 'address for a transaction', 'declined request for an address',
  'request for a transaction', 'transaction', 'declined request for a transaction', 'sync of a contact',
  'sync of an account', 'sync of a public chat', 'contact code', 'push notification registration',
  'push notification registration response', 'push notification query', 'push notification query response',
  'push notification request', 'push notification response', 'emoji reaction', 'group chat invitation',
  'chat identity', 'community description', 'community invitation', 'request to join a community', 'pin message',
  'edit message', 'status update', 'delete message',
]
/** What a chat message holds, by number. */
const CONTENTS = [
  'unknown', 'text', 'sticker', 'status', 'emoji', 'command', 'group event', 'image', 'audio', 'community', 'gap',
  'contact request', 'discord message', 'identity verification', 'pinned message',
]
/** Encodings of images, and reactions, by their number. */
const IMAGES = ['unknown', 'PNG', 'JPEG', 'WebP', 'GIF']
const REACTIONS = ['', '❤', '👍', '👎', '😆', '😢', '😠']

/** What is told of a message beside its signature. */
type Inside = Partial<Said>

const reader = <S extends Shape>(shape: S, tell: (told: Told<S>) => Inside) => (message: Uint8Array) =>
  tell(decode(shape, message))

/** How the messages that say something are read, by their type. */
const READERS = new Map<number, (message: Uint8Array) => Inside>([
  [1, reader(CHAT_MESSAGE, ({ content = 0, ens, name = ens, sticker, image, audio, ...told }) => ({
    ...told, name, attached: attached({ sticker, image, audio }), kind: named(CONTENTS, content, 'content'),
  }))],
  [2, reader(CONTACT_UPDATE, ({ ens, name }) => ({ name: ens ?? name }))],
  [22, reader(EMOJI_REACTION, ({ emoji = 0, retracted, ...told }) => {
    const shown = REACTIONS[emoji] || undefined
    return { ...told, text: shown && retracted ? `${shown} taken back` : shown }
  })],
  [28, reader(PIN_MESSAGE, ({ pinned, ...told }) => (pinned ? told : { ...told, kind: 'unpin message' }))],
  [29, reader(EDIT_MESSAGE, (told) => told)],
  [31, reader(DELETE_MESSAGE, (told) => told)],
])

function attached({ sticker, image, audio }: Pick<Told<typeof CHAT_MESSAGE>, 'sticker' | 'image' | 'audio'>): Attached | undefined {
  if (sticker) return { sticker: { hash: sticker.hash ?? '', pack: sticker.pack ?? 0 } }
  if (image) return { image: { bytes: image.bytes?.length ?? 0, encoding: IMAGES[image.encoding ?? 0] ?? IMAGES[0]! } }
  return audio && { audio: { bytes: audio.bytes?.length ?? 0, duration: audio.duration ?? 0 } }
}

/** The name of a number in a list that may have grown since. */
const named = (names: string[], number: number, what: string): string => names[number] ?? `${what} of type ${number}`

/** Takes the layer of encryption off: what is in it for everyone, or what it is where
 * nothing is; null where there is none. */
export function unwrap(payload: Uint8Array): Uint8Array | Said | null {
  const layer = whole(LAYER, payload)
  if (layer?.direct) return { format: 'status-protobuf', kind: 'direct message' }
  if (layer?.published) return layer.published
  const isOfKeys = layer?.bundles?.every((bundle) => whole(BUNDLE, bundle)?.signature?.length === SIGNATURE)
  return isOfKeys ? { format: 'status-protobuf', kind: 'keys of devices' } : null
}

/** Reads a wrapper and what it holds; null for what is none. */
export function signed(payload: Uint8Array): Said | null {
  const wrapper = whole(WRAPPER, payload)
  if (!wrapper) return null
  const { signature = new Uint8Array(), message = new Uint8Array(), type = 0 } = wrapper
  let author: string
  try {
    author = signerOf(message, signature)
  } catch {
    return null
  }
  const id = `0x${toHex(keccak_256(concat(fromHex(author), payload)))}`
  return { ...inside(message, type), format: 'status-protobuf', author, id }
}

/** What a signed message of a type says. */
function inside(message: Uint8Array, type: number): Inside {
  const kind = named(TYPES, type, 'message')
  try {
    return { kind, ...READERS.get(type)?.(message) }
  } catch {
    return { kind: `${kind} that does not read` }
  }
}
