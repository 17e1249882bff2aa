import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fromHex, toHex, toText } from '../src/whisper/bytes.ts'
import { envelopesOf, hashOf, topicOfChat } from '../src/whisper/envelope.ts'
import { keyOfPassword, open, type Key } from '../src/whisper/message.ts'
import { read } from '../src/whisper/payload.ts'

const fixture = (name: string) => JSON.parse(readFileSync(`../fixtures/${name}`, 'utf8'))
const envelopes = fixture('wire/envelopes.json')
const messages = fixture('wire/messages.json')
const corpus = fixture('corpus/corpus_keys.json')

const only = (rlp: string) => {
  const [envelope, ...rest] = envelopesOf(fromHex(rlp))
  assert.ok(envelope && rest.length === 0)
  return envelope
}

test('envelopes read as in the reference, and hash to what they are called', () => {
  assert.ok(envelopes.vectors.length > 60)
  for (const vector of envelopes.vectors) {
    const envelope = only(vector.rlp)
    assert.equal(envelope.hash, vector.hash)
    assert.equal(envelope.topic, vector.topic)
    assert.equal(envelope.sent, vector.sent)
    assert.equal(envelope.ttl, vector.ttl)
    assert.equal(envelope.expiry, vector.expiry)
    assert.equal(envelope.size, vector.size)
    assert.equal(String(envelope.nonce), String(vector.nonce))
    assert.equal(hashOf(envelope, fromHex(envelope.topic)), vector.hash)
  }
})

test('what is no envelope is refused', () => {
  assert.ok(envelopes.invalid.length > 40)
  for (const { rlp, name } of envelopes.invalid) {
    assert.throws(() => only(rlp), Error, name)
  }
})

test('names of chats and passwords give the topics and keys of Status nodes', () => {
  assert.equal(topicOfChat('status'), '0xcd423760')
  for (const { password, topic, sym_key } of corpus.topics.slice(0, 4)) {
    assert.equal(topicOfChat(password), topic)
    assert.equal(`0x${toHex(keyOfPassword(password).bytes)}`, sym_key)
  }
})

test('messages of the reference open, and what they hold is what it read', () => {
  assert.ok(messages.vectors.length > 40)
  for (const vector of messages.vectors) {
    const isSymmetric = vector.kind === 'symmetric'
    const hex = isSymmetric ? vector.sym_key : vector.dst_private_key
    const key: Key = { kind: isSymmetric ? 'symmetric' : 'secret', bytes: fromHex(hex) }
    const opened = open(key, only(vector.envelope_rlp).data)
    assert.ok(opened, vector.name)
    if (vector.payload) assert.equal(`0x${toHex(opened.payload)}`, vector.payload, vector.name)
    assert.equal(opened.signer ?? '', vector.result.src_public_key, vector.name)
    assert.equal(opened.padding.length, vector.result.padding_len, vector.name)
  }
})

test('crafted plaintexts are messages or refused as in the reference, and none crashes', () => {
  assert.ok(messages.crafted.length > 20)
  for (const vector of messages.crafted) {
    const key: Key = { kind: 'symmetric', bytes: fromHex(vector.sym_key) }
    const attempt = () => open(key, only(vector.envelope_rlp).data)
    if (vector.valid) {
      const opened = attempt()
      assert.ok(opened, vector.name)
      assert.equal(`0x${toHex(opened.payload)}`, vector.result.payload, vector.name)
      assert.equal(opened.signer ?? '', vector.result.src_public_key, vector.name)
    } else assert.throws(attempt, Error, vector.name)
  }
})

test('what another key sealed, or somebody bent, does not open', () => {
  let closed = 0
  let bent = 0
  for (const vector of messages.negative) {
    const isSymmetric = vector.kind === 'symmetric'
    const hex = isSymmetric ? vector.sym_key : vector.dst_private_key
    const key: Key = { kind: isSymmetric ? 'symmetric' : 'secret', bytes: fromHex(hex) }
    const { data } = only(vector.envelope_rlp)
    if (vector.decrypted) {
      bent++
      assert.throws(() => open(key, data), /the plaintext is empty/, vector.name)
    } else {
      closed++
      assert.equal(open(key, data), null, vector.name)
    }
  }
  assert.ok(closed > 20 && bent > 0, `${closed} closed, ${bent} bent`)
})

test('public chats of the corpus say what their senders wrote', () => {
  const rlps = readFileSync('../fixtures/corpus/envelopes.rlps')
  const lines = readFileSync('../fixtures/corpus/corpus.jsonl', 'utf8').split('\n')
  const keys = new Map<string, Key>()
  for (const topic of corpus.topics) {
    keys.set(topic.topic, { kind: 'symmetric', bytes: fromHex(topic.sym_key) })
  }
  let chats = 0
  for (const vector of corpus.vectors) {
    const { offset, length } = JSON.parse(lines[vector.line]!)
    const [envelope] = envelopesOf(rlps.subarray(offset, offset + length))
    assert.equal(envelope!.hash, vector.hash)
    const opened = open(keys.get(vector.topic)!, envelope!.data)
    assert.equal(toText(opened!.payload), vector.payload)
    assert.equal(opened!.signer, vector.src_public_key)
    const said = read(opened!.payload)
    if (!vector.payload.startsWith('[')) {
      assert.equal(said.format, 'text')
      assert.equal(said.text, vector.payload)
      continue
    }
    chats++
    const [, [text, , , , written, map]] = JSON.parse(vector.payload)
    assert.equal(said.format, 'status-transit')
    assert.equal(said.text, text)
    assert.equal(said.chat, map[2])
    assert.equal(said.written, written)
  }
  assert.ok(chats > 100)
})
