import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fromHex, toHex } from '../src/whisper/bytes.ts'
import { envelopesOf } from '../src/whisper/envelope.ts'
import { compressed, signerOf } from '../src/whisper/message.ts'
import { cidOf, cidOfBytes, isRecord, kindOf, signedPart, verified, walk } from '../src/archive/blocks.ts'

const vector = JSON.parse(readFileSync('../fixtures/archive/v1/accepted/archive-small.json', 'utf8'))
const blocks = new Map<string, Uint8Array>(
  Object.entries(vector.expect.blocks as Record<string, string>).map(([cid, hex]) => [cid, fromHex(hex)]),
)
const fetch = async (cid: string) => {
  const bytes = blocks.get(cid)
  if (!bytes) throw new Error(`${cid} is missing`)
  return bytes
}
const STATE = 'bafyreiaggytjrisr4mesze6v777gldctw654yfic46gsm23r226cwdnbum'

test('a path is followed through blocks that hash to their links', async () => {
  const place = await walk(cidOf(STATE), ['2018', '09', '29'], fetch)
  assert.deepEqual(place.kinds, ['state', 'year', 'month', 'leaf'])
  assert.equal(place.block.cid.toString(), 'bafkreih2ytozlqfyhc4zfj2zs3voavulwfsy5fhuxlte7ymnhdotbytia4')
  const envelopes = envelopesOf(place.block.bytes)
  assert.deepEqual(envelopes.map(({ sent, topic }) => [sent, topic]), [
    [1538189194, '0x02020202'], [0x5baef366 - 0x32, '0x02020202'],
  ])
  const open = await walk(cidOf(STATE), ['2018', '09', '30'], fetch)
  assert.deepEqual(open.kinds, ['state', 'year', 'month', 'day'])
  const part = await walk(cidOf(STATE), ['2018', '09', 'sums', '29', '0'], fetch)
  assert.equal(part.value, 2)
  assert.equal(part.isWhole, false)
})

test('a name that is not there ends the path, also one that all objects have', async () => {
  for (const name of ['1999', 'constructor', '__proto__', 'toString', '']) {
    await assert.rejects(walk(cidOf(STATE), [name], fetch), /there is no/)
  }
})

test('bytes that are not what the CID names are refused', () => {
  for (const [name, bytes] of blocks) {
    assert.equal(verified(cidOf(name), bytes).cid.toString(), name)
    const bent = bytes.slice()
    bent[bent.length >> 1]! ^= 1
    assert.throws(() => verified(cidOf(name), bent), /not what the CID names/)
  }
})

test('only CIDs of the archive format are asked for', () => {
  for (const text of ['', 'hello', 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG', `${STATE}x`,
    'bafkqaaa', 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi']) {
    assert.throws(() => cidOf(text), Error, text)
  }
  assert.equal(cidOf(` ipfs://${STATE} `).toString(), STATE)
})

test('every kind of block of the format is told from the others', () => {
  const kinds: Record<string, string[]> = {}
  for (const [file, kind] of [['pack-1', 'pack'], ['pack-2', 'pack'], ['topics-lines', 'topics'],
    ['topics-nodes', 'topics'], ['calendar-state', 'state'], ['calendar-month', 'month'],
    ['head-full', 'head'], ['head-first', 'head']] as const) {
    const { given, expect } = JSON.parse(readFileSync(`../fixtures/archive/v1/accepted/${file}.json`, 'utf8'))
    const block = verified(cidOf(expect.cid), fromHex(joined(given.bytes ?? expect.bytes)))
    ;(kinds[kind] ??= []).push(kindOf(block, null))
  }
  for (const [kind, found] of Object.entries(kinds)) assert.ok(found.every((is) => is === kind), kind)
})

test('a head was signed by the key it names, over all of it but the signature', () => {
  for (const file of ['head-full', 'head-first']) {
    const { expect } = JSON.parse(readFileSync(`../fixtures/archive/v1/accepted/${file}.json`, 'utf8'))
    const { value } = verified(cidOf(expect.cid), fromHex(expect.bytes))
    assert.ok(isRecord(value))
    assert.equal(toHex(signedPart(value)), expect.unsigned)
    const signer = signerOf(signedPart(value), value['sig'] as Uint8Array)
    assert.equal(compressed(signer), `0x${expect.key}`)
    if (value['prev']) assert.ok(cidOfBytes(value['prev'] as Uint8Array).toString().startsWith('bafyrei'))
  }
})

/** Bytes of a vector: hex, or a list of parts. */
function joined(bytes: string | Array<string | { hex: string; times: number }>): string {
  if (typeof bytes === 'string') return bytes
  return bytes.map((part) => (typeof part === 'string' ? part : part.hex.repeat(part.times))).join('')
}
