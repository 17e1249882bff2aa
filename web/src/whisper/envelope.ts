// Envelopes: canonical RLP `[expiry, ttl, topic, data, nonce]`.
//
// Always true: what does not re-encode to itself is refused; nothing is read past
// the bytes given.
import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, toHex } from './bytes.ts'

/** One encrypted message, as it travelled. */
export interface Envelope {
  /** Keccak-256 of its RLP, hex with `0x`. */
  hash: string
  /** Unix seconds after which the network forgets it. */
  expiry: number
  /** Seconds it lives. */
  ttl: number
  /** Unix seconds it was sent: expiry - ttl, modulo 2^32. */
  sent: number
  /** 4 bytes, hex with `0x`. */
  topic: string
  data: Uint8Array
  /** 64 bits. */
  nonce: bigint
  /** 20 + length of data, bytes. */
  size: number
}

/** Where an item of RLP lies. */
interface Item {
  isList: boolean
  from: number
  to: number
}

function itemAt(bytes: Uint8Array, at: number): Item {
  const first = bytes[at]
  if (first === undefined) throw new Error('RLP ends too early')
  let item: Item
  if (first < 0x80) item = { isList: false, from: at, to: at + 1 }
  else {
    const isList = first >= 0xc0
    const short = first - (isList ? 0xc0 : 0x80)
    if (short <= 55) item = { isList, from: at + 1, to: at + 1 + short }
    else {
      const width = short - 55
      // No envelope is beyond 32 bits of length; 4 bytes keep the sum exact.
      if (width > 4) throw new Error('an RLP length is too long')
      let length = 0
      for (let i = 0; i < width; i++) length = length * 256 + (bytes[at + 1 + i] ?? 0)
      if (length < 56 || bytes[at + 1] === 0) throw new Error('an RLP length is not the shortest')
      item = { isList, from: at + 1 + width, to: at + 1 + width + length }
    }
  }
  if (item.to > bytes.length) throw new Error('RLP ends too early')
  if (!item.isList && first === 0x81 && (bytes[item.from] ?? 0) < 0x80) {
    throw new Error('an RLP byte is not the shortest')
  }
  return item
}

function number(bytes: Uint8Array, bits: number): bigint {
  if (bytes[0] === 0) throw new Error('a number starts with zeros')
  if (bytes.length * 8 > bits) throw new Error(`a number has more than ${bits} bits`)
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`)
}

/** The envelopes of a leaf, in their order. */
export function envelopesOf(leaf: Uint8Array): Envelope[] {
  const out: Envelope[] = []
  for (let at = 0; at < leaf.length; ) {
    const outer = itemAt(leaf, at)
    if (!outer.isList) throw new Error('an envelope is a list')
    const fields: Uint8Array[] = []
    for (let inner = outer.from; inner < outer.to; ) {
      const field = itemAt(leaf, inner)
      if (field.isList || field.to > outer.to || fields.length === 5) {
        throw new Error('an envelope is a list of 5 byte strings')
      }
      fields.push(leaf.subarray(field.from, field.to))
      inner = field.to
    }
    const [expiry, ttl, topic, data, nonce] = fields
    if (!expiry || !ttl || !topic || !data || !nonce) throw new Error('an envelope has 5 fields')
    if (topic.length !== 4) throw new Error('a topic has 4 bytes')
    const until = Number(number(expiry, 32))
    const lives = Number(number(ttl, 32))
    out.push({
      hash: `0x${toHex(keccak_256(leaf.subarray(at, outer.to)))}`,
      expiry: until,
      ttl: lives,
      sent: (until - lives) >>> 0,
      topic: `0x${toHex(topic)}`,
      data,
      nonce: number(nonce, 64),
      size: 20 + data.length,
    })
    at = outer.to
  }
  return out
}

function encodeBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 1 && bytes[0]! < 0x80) return bytes
  return concat(head(0x80, bytes.length), bytes)
}

function head(base: number, length: number): Uint8Array {
  if (length <= 55) return Uint8Array.of(base + length)
  const width = bigEndian(BigInt(length))
  return concat(Uint8Array.of(base + 55 + width.length), width)
}

function bigEndian(value: bigint): Uint8Array {
  const out: number[] = []
  for (let rest = value; rest > 0n; rest >>= 8n) out.unshift(Number(rest & 0xffn))
  return Uint8Array.from(out)
}

/** The RLP of an envelope of these fields. */
export function encode(
  envelope: Pick<Envelope, 'expiry' | 'ttl' | 'data' | 'nonce'>,
  topic: Uint8Array,
): Uint8Array {
  const body = concat(
    encodeBytes(bigEndian(BigInt(envelope.expiry))),
    encodeBytes(bigEndian(BigInt(envelope.ttl))),
    encodeBytes(topic),
    encodeBytes(envelope.data),
    encodeBytes(bigEndian(envelope.nonce)),
  )
  return concat(head(0xc0, body.length), body)
}

/** The hash that an envelope of these fields has, hex with `0x`. */
export function hashOf(fields: Parameters<typeof encode>[0], topic: Uint8Array): string {
  return `0x${toHex(keccak_256(encode(fields, topic)))}`
}

/** The topic of a public chat: the first 4 bytes of Keccak-256 of its name. */
export function topicOfChat(name: string): string {
  return `0x${toHex(keccak_256(new TextEncoder().encode(name)).subarray(0, 4))}`
}
