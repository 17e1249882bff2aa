// The worker that holds keys and does the slow sums, so that the page stays alive.
//
// Always true: it makes no request, and says of a key nothing but what it opened.
import { fromHex } from '../whisper/bytes.ts'
import { compressed, keyOfPassword, signerOf, type Key } from '../whisper/message.ts'
import { openEnvelope } from './opening.ts'
import type { Answer, Asked } from './terms.ts'

/** Keys derived so far: the last few, for each costs half a second. */
const KEPT_KEYS = 8
const derived = new Map<string, Key>()

function keyOf(asked: Extract<Asked, { op: 'open' }>['key']): Key {
  if (asked.kind !== 'password') return { kind: asked.kind, bytes: fromHex(asked.hex) }
  let key = derived.get(asked.text)
  if (!key) {
    key = keyOfPassword(asked.text)
    derived.set(asked.text, key)
    if (derived.size > KEPT_KEYS) derived.delete(derived.keys().next().value!)
  }
  return key
}

function answer(asked: Asked): Answer {
  switch (asked.op) {
    case 'open': {
      const key = keyOf(asked.key)
      return { op: 'open', envelopes: asked.envelopes.map((one) => openEnvelope(key, asked.topic, one)) }
    }
    case 'signer':
      return { op: 'signer', key: compressed(signerOf(asked.signed, asked.signature)) }
  }
}

self.onmessage = (event: MessageEvent<{ id: number; asked: Asked }>) => {
  const { id, asked } = event.data
  try {
    self.postMessage({ id, answer: answer(asked) })
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) })
  }
}
