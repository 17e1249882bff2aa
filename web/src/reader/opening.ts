// An envelope as the daemon tells it, checked and opened.
//
// Always true: what is told of an envelope comes out of the bytes that its hash was
// made of, and out of nothing else that the daemon says.
import { fromHex } from '../whisper/bytes.ts'
import { hashOf } from '../whisper/envelope.ts'
import { open, type Key } from '../whisper/message.ts'
import { read } from '../whisper/payload.ts'
import type { OpenedEnvelope, WireEnvelope } from './terms.ts'

/** Bytes of an envelope beside its data, as Whisper counts its size. */
const FIXED_SIZE = 20

/** A number that the RLP of an envelope can hold; throws in words. */
function whole(value: unknown, name: string): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 0xffff_ffff) {
    throw new Error(`its ${name} is no number of 32 bits`)
  }
  return value as number
}

/** Opens an envelope that was asked for by `topic`. */
export function openEnvelope(key: Key, topic: string, envelope: WireEnvelope): OpenedEnvelope {
  const hash = envelope.hash.toLowerCase()
  try {
    if (envelope.topic.toLowerCase() !== topic.toLowerCase()) {
      return { hash, is: 'bent', why: 'it is of another topic than was asked for' }
    }
    if (!/^0x[0-9a-f]{1,16}$/i.test(envelope.nonce)) throw new Error('its nonce is no number of 64 bits')
    const data = fromHex(envelope.data)
    const expiry = whole(envelope.expiry, 'expiry')
    const ttl = whole(envelope.ttl, 'TTL')
    const fields = { expiry, ttl, data, nonce: BigInt(envelope.nonce) }
    if (hashOf(fields, fromHex(topic)) !== hash) {
      return { hash, is: 'bent', why: 'its bytes do not give its hash' }
    }
    const message = open(key, data)
    if (!message) return { hash, is: 'closed' }
    const { payload, signer } = message
    return {
      hash, is: 'open', sent: (expiry - ttl) >>> 0, size: FIXED_SIZE + data.length,
      said: read(payload), signer, payload: payload.slice(),
    }
  } catch (error) {
    return { hash, is: 'bent', why: error instanceof Error ? error.message : String(error) }
  }
}
