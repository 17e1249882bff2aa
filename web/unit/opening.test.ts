import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { openEnvelope } from '../src/reader/opening.ts'
import { inOrder } from '../src/reader/order.ts'
import type { WireEnvelope } from '../src/reader/terms.ts'
import { fromHex, toHex } from '../src/whisper/bytes.ts'
import { envelopesOf } from '../src/whisper/envelope.ts'
import type { Key } from '../src/whisper/message.ts'

const { vectors } = JSON.parse(readFileSync('../fixtures/wire/messages.json', 'utf8'))
const vector = vectors.find((one: { kind: string; payload?: string }) => one.kind === 'symmetric' && one.payload)
const key: Key = { kind: 'symmetric', bytes: fromHex(vector.sym_key) }
const [real] = envelopesOf(fromHex(vector.envelope_rlp))
const { hash, topic, sent, ttl, expiry, size, data, nonce } = real!
const told: WireEnvelope = {
  hash, topic, sent, ttl, expiry, size, pow: 1, nonce: `0x${nonce.toString(16)}`, data: `0x${toHex(data)}`,
}

test('time and size of a message are those that its hash vouches for, whatever the daemon says', () => {
  const opened = openEnvelope(key, topic, { ...told, sent: 1_700_000_000, size: 1 })
  assert.ok(opened.is === 'open')
  assert.equal(opened.sent, sent)
  assert.equal(opened.size, size)
  assert.equal(`0x${toHex(opened.payload)}`, vector.payload)
})

test('an envelope whose fields are not those of its hash, or of another topic, is not opened', () => {
  const lies: Array<Partial<WireEnvelope>> = [
    { expiry: expiry + 1 }, { ttl: ttl + 1 }, { expiry: -1 }, { ttl: 0.5 }, { expiry: 2 ** 32 }, { ttl: NaN },
    { nonce: '0x1' }, { nonce: '-1' }, { nonce: '' }, { nonce: `0x1${'0'.repeat(16)}` }, { data: '0x00' }, { data: 'no' },
    { topic: '0x00000000' }, { hash: `0x${'0'.repeat(64)}` },
  ]
  for (const lie of lies) {
    const opened = openEnvelope(key, topic, { ...told, ...lie })
    assert.equal(opened.is, 'bent', JSON.stringify(lie))
    assert.ok(!('sent' in opened))
  }
  assert.equal(openEnvelope(key, '0x00000000', told).is, 'bent')
  assert.equal(openEnvelope({ kind: 'symmetric', bytes: new Uint8Array(32) }, topic, told).is, 'closed')
})

test('messages stand by time and then by hash, each once', () => {
  const one = openEnvelope(key, topic, told)
  assert.ok(one.is === 'open')
  const of = (name: string, at: number) => ({ ...one, hash: name, sent: at })
  const sorted = inOrder([of('0xc', 5), of('0xb', 9), of('0xa', 9), of('0xc', 5)])
  assert.deepEqual(sorted.map((each) => each.hash), ['0xc', '0xa', '0xb'])
})
