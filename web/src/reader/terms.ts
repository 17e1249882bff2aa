// What the page and its worker say to each other.
import type { Said } from '../whisper/payload.ts'

/** An envelope as `/api/v1/query?data=1` tells it. */
export interface WireEnvelope {
  hash: string
  topic: string
  sent: number
  ttl: number
  expiry: number
  size: number
  /** Null where it lived no time. */
  pow: number | null
  /** 64 bits, hex with `0x`. */
  nonce: string
  data: string
}

/** With what messages are opened. */
export type AskedKey =
  | { kind: 'password'; text: string }
  | { kind: 'symmetric' | 'secret'; hex: string }

export type Asked =
  | { op: 'open'; key: AskedKey; topic: string; envelopes: WireEnvelope[] }
  | { op: 'signer'; signed: Uint8Array; signature: Uint8Array }

/** What became of an envelope. `sent` (Unix seconds) and `size` (bytes) are those of
 * its own fields, which its hash was made of. */
export type OpenedEnvelope = { hash: string } & (
  | { is: 'open'; sent: number; size: number; said: Said; signer: string | null; payload: Uint8Array }
  /** The key does not open it. */
  | { is: 'closed' }
  /** It is not what was asked for, or not what it says it is, or decrypts to what is no message. */
  | { is: 'bent'; why: string }
)

export type Answer =
  | { op: 'open'; envelopes: OpenedEnvelope[] }
  | { op: 'signer'; key: string }
