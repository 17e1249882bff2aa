import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { remark } from '../src/reader/remark.ts'
import { concat, fromHex } from '../src/whisper/bytes.ts'
import { read, type Said } from '../src/whisper/payload.ts'

/** Payloads, and what the Rust side says of them too. */
const { vectors, names } = JSON.parse(readFileSync('../fixtures/status/payloads.json', 'utf8')) as {
  vectors: Array<{ name: string; payload: string; said: Said }>
  names: Record<'messages' | 'contents' | 'images' | 'reactions', string[]>
}
const utf8 = (text: string) => new TextEncoder().encode(text)
/** What is said, as JSON has it: without what is undefined. */
const told = (payload: Uint8Array): Said => JSON.parse(JSON.stringify(read(payload)))

/** One field of a protobuf message. */
function field(number: number, value: bigint | Uint8Array): Uint8Array {
  const varint = (rest: bigint): number[] =>
    rest < 0x80n ? [Number(rest)] : [Number(rest & 0x7fn) | 0x80, ...varint(rest >> 7n)]
  const tag = (wire: bigint) => varint((BigInt(number) << 3n) | wire)
  if (typeof value === 'bigint') return Uint8Array.from([...tag(0n), ...varint(value)])
  return concat(Uint8Array.from([...tag(2n), ...varint(BigInt(value.length))]), value)
}

function signed(message: Uint8Array, type: number): Uint8Array {
  const secret = new Uint8Array(32).fill(7)
  const made = secp256k1.sign(keccak_256(message), secret, { prehash: false, format: 'recovered' })
  // Here the recovery number comes last.
  const signature = concat(made.subarray(1), made.subarray(0, 1))
  // What is empty or zero is not written.
  const inside = message.length === 0 ? message : field(2, message)
  return concat(field(1, signature), inside, type === 0 ? new Uint8Array() : field(3, BigInt(type)))
}

test('every payload says what `gwa read` says of it', () => {
  assert.ok(vectors.length > 60)
  for (const { name, payload, said } of vectors) assert.deepEqual(told(fromHex(payload)), said, name)
})

test('numbers are called as `gwa read` calls them', () => {
  const chat = (...fields: Uint8Array[]) => read(signed(concat(...fields), 1))
  const number = (at: number, value: number) => (value === 0 ? new Uint8Array() : field(at, BigInt(value)))
  names.messages.forEach((name, type) => {
    // Of those that say more, another word may stand in the place of the type's.
    const { kind } = read(signed(type === 28 ? field(4, 1n) : new Uint8Array(), type))
    assert.equal(kind, type === 1 ? 'unknown' : name)
  })
  names.contents.forEach((name, content) => assert.equal(chat(number(8, content)).kind, name))
  names.images.forEach((encoding, type) => {
    assert.deepEqual(chat(field(10, number(2, type))).attached, { image: { bytes: 0, encoding } })
  })
  names.reactions.forEach((emoji, type) => {
    assert.equal(read(signed(number(5, type), 22)).text ?? '', emoji)
  })
  assert.equal(read(signed(new Uint8Array(), names.messages.length)).kind, `message of type ${names.messages.length}`)
  assert.equal(chat(number(8, names.contents.length)).kind, `content of type ${names.contents.length}`)
})

test('a payload beyond all messages is not read', () => {
  const long = new Uint8Array(2 ** 20 + 1).fill(0x61)
  assert.deepEqual(told(long), { format: 'unknown', kind: 'longer than any message of a chat' })
  assert.equal(read(long.subarray(1)).format, 'text')
})

test('what nests without end, or has parts without number, is no message', () => {
  assert.equal(read(utf8(`["~#c4",${'['.repeat(100_000)}`)).format, 'text')
  const groups = new Uint8Array(200_000).fill(0x0b)
  assert.equal(read(signed(groups, 31)).kind, 'delete message that does not read')
  // 300,000 bundles that are none.
  const bundles = new Uint8Array(900_000).map((_, i) => [0x1a, 1, 0x78][i % 3]!)
  assert.equal(read(bundles).format, 'unknown')
})

test('any bytes are read or told unknown, and none fails', () => {
  // A linear congruence instead of random numbers: the same bytes in each run.
  let state = 12345
  const next = () => (state = (state * 1103515245 + 12345) & 0x7fffffff) >> 16
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from({ length: next() % 80 }, () => next() & 0xff)
    assert.ok(read(bytes).format)
    const inside = read(signed(bytes, [1, 2, 22, 28, 29, 31][round % 6]!))
    assert.ok(inside.author && inside.id && inside.kind)
  }
})

test('a message with a byte changed never passes for its author’s', () => {
  const honest = read(fromHex(vectors[0]!.payload))
  const bytes = fromHex(vectors[0]!.payload)
  for (let at = 0; at < bytes.length; at++) {
    const bent = read(bytes.map((byte, i) => (i === at ? byte ^ 1 : byte)))
    assert.notEqual(bent.id, honest.id)
    // The type stands outside of what is signed.
    if (bent.author === honest.author) assert.notEqual(bent.kind, honest.kind)
  }
})

test('what is no plain text says in a few words what it is', () => {
  const words = (name: string) => remark(vectors.find((one) => one.name === name)!.said)
  assert.equal(words('a text'), '')
  assert.equal(words('a text in transit'), '')
  assert.equal(words('a text of somebody'), '')
  assert.equal(words('a reply'), 'about 0x9a8171074959…')
  assert.equal(words('an emoji'), 'emoji')
  assert.equal(words('a sticker'), 'sticker e30101701220ab of pack 3')
  assert.equal(words('an image'), 'image, JPEG, 20 B')
  assert.equal(words('a recording'), 'audio, 3.5 s, 10 B')
  assert.equal(words('an edit'), 'edit message, about 0x01')
  assert.equal(words('a pin taken out'), 'unpin message, about 0x01')
  assert.equal(words('a direct message'), 'direct message')
  assert.equal(remark({ format: 'status-transit' }), 'no text')
})
