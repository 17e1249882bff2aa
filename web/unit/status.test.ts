import assert from 'node:assert/strict'
import { test } from 'node:test'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, toHex } from '../src/whisper/bytes.ts'
import { fieldsOf, read } from '../src/whisper/status.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)

/** One field of a protobuf message. */
function field(number: number, value: bigint | Uint8Array): Uint8Array {
  const varint = (rest: bigint): number[] =>
    rest < 0x80n ? [Number(rest)] : [Number(rest & 0x7fn) | 0x80, ...varint(rest >> 7n)]
  const tag = (wire: bigint) => varint((BigInt(number) << 3n) | wire)
  if (typeof value === 'bigint') return Uint8Array.from([...tag(0n), ...varint(value)])
  return concat(Uint8Array.from([...tag(2n), ...varint(BigInt(value.length))]), value)
}

function signed(message: Uint8Array, type: bigint) {
  const secret = new Uint8Array(32).fill(7)
  const made = secp256k1.sign(keccak_256(message), secret, { prehash: false, format: 'recovered' })
  // Here the recovery number comes last.
  const signature = concat(made.subarray(1), made.subarray(0, 1))
  const author = `0x${toHex(secp256k1.getPublicKey(secret, false))}`
  return { author, payload: concat(field(1, signature), field(2, message), field(3, type)) }
}

test('a chat message in the signed wrapper is read, with who signed it', () => {
  const message = concat(
    field(1, 9n), field(2, 1_590_000_000_000n), field(3, utf8('good morning')),
    field(5, utf8('alice.eth')), field(6, utf8('status')), field(8, 1n),
  )
  const { author, payload } = signed(message, 1n)
  assert.deepEqual(read(payload), {
    format: 'status-protobuf', text: 'good morning', chat: 'status', written: 1_590_000_000_000,
    kind: 'text', name: 'alice.eth', author,
  })
})

test('a wrapper around something else says of which type it is, and no text', () => {
  const { payload } = signed(field(1, 9n), 5n)
  const said = read(payload)
  assert.equal(said.format, 'status-protobuf')
  assert.equal(said.text, null)
  assert.equal(said.kind, 'message of type 5')
})

test('a payload of no known format is told to be unknown', () => {
  for (const bytes of [[], [0xff, 0xfe], [0, 1, 2, 3], [8, 1]]) {
    assert.equal(read(Uint8Array.from(bytes)).format, 'unknown')
  }
  assert.equal(read(utf8('["~#p1",["x"]]')).format, 'unknown')
  assert.equal(read(utf8('{"a": 1}')).format, 'unknown')
  assert.equal(read(utf8('hello')).format, 'text')
})

test('escapes of transit are undone, in texts as in what stands beside them', () => {
  const said = read(utf8('["~#c4",["~~tilde","text/plain","~:public-group-user-message",1,2,["^ ","~:chat-id","~:kw"]]]'))
  assert.equal(said.text, '~tilde')
  assert.equal(said.chat, 'kw')
  assert.equal(said.kind, 'public-group-user-message, text/plain')
})

test('any bytes are read or told unknown, and none fails', () => {
  // A linear congruence instead of random numbers: the same bytes in each run.
  let state = 12345
  const next = () => (state = (state * 1103515245 + 12345) & 0x7fffffff) >> 16
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from({ length: next() % 80 }, () => next() & 0xff)
    assert.ok(read(bytes).format)
    fieldsOf(bytes)
  }
})
