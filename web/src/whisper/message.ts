// What an envelope's data holds once decrypted: payload, padding, signature.
//
// Always true: nothing is read past the bytes given, whatever the sender wrote; keys
// leave this worker for nowhere.
//
// Plaintext: `flags (1) | payload size (little endian, 0..3) | payload | padding |
// signature (65, if signed)`. Flag bits 0-1: bytes of the size; bit 2: signed.
import { ctr, gcm } from '@noble/ciphers/aes.js'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { hmac } from '@noble/hashes/hmac.js'
import { pbkdf2 } from '@noble/hashes/pbkdf2.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, toHex } from './bytes.ts'

/** Rounds of PBKDF2 between a password and its key. Not 65,536: the reference nodes use this. */
const PASSWORD_ROUNDS = 65_356
/** Bytes of a signature, `r | s | v`. */
export const SIGNATURE = 65
/** Bytes of the AES-GCM nonce, the last of symmetric data. */
const NONCE = 12
/** ECIES: an uncompressed point, an IV, and the tag at the end. */
const POINT = 65
const IV = 16
const TAG = 32

const SIZE_MASK = 0b011
const SIGNED = 0b100

/** What opens messages. */
export type Key =
  | { kind: 'symmetric'; bytes: Uint8Array }
  | { kind: 'secret'; bytes: Uint8Array }

/** A message out of its envelope. */
export interface Opened {
  payload: Uint8Array
  padding: Uint8Array
  /** The key that signed, 65 bytes as hex with `0x`; null where nobody did. */
  signer: string | null
}

/** The symmetric key of a password or of a public chat's name. Takes about half a second. */
export function keyOfPassword(password: string): Key {
  const text = new TextEncoder().encode(password)
  const bytes = pbkdf2(sha256, text, new Uint8Array(), { c: PASSWORD_ROUNDS, dkLen: 32 })
  return { kind: 'symmetric', bytes }
}

/** Opens data with `key`; null where it is not made for this key. Throws where it
 * decrypts and is no message. */
export function open(key: Key, data: Uint8Array): Opened | null {
  const plain = key.kind === 'symmetric' ? openSymmetric(key.bytes, data) : openEcies(key.bytes, data)
  return plain && validate(plain)
}

function openSymmetric(key: Uint8Array, data: Uint8Array): Uint8Array | null {
  if (data.length < NONCE) return null
  const end = data.length - NONCE
  try {
    return gcm(key, data.subarray(end)).decrypt(data.subarray(0, end))
  } catch {
    return null
  }
}

function openEcies(secret: Uint8Array, data: Uint8Array): Uint8Array | null {
  if (data.length < POINT + IV + TAG || data[0] !== 4) return null
  const authenticated = data.subarray(POINT, data.length - TAG)
  let shared: Uint8Array
  try {
    shared = secp256k1.getSharedSecret(secret, data.subarray(0, POINT), true).subarray(1)
  } catch {
    return null
  }
  const keys = sha256(concat(Uint8Array.of(0, 0, 0, 1), shared))
  const tag = hmac(sha256, sha256(keys.subarray(16)), authenticated)
  const sent = data.subarray(data.length - TAG)
  let differs = 0
  tag.forEach((byte, i) => (differs |= byte ^ sent[i]!))
  if (differs !== 0) return null
  return ctr(keys.subarray(0, 16), authenticated.subarray(0, IV)).decrypt(authenticated.subarray(IV))
}

/** Takes a decrypted plaintext apart. */
export function validate(plain: Uint8Array): Opened {
  const flags = plain[0]
  if (flags === undefined) throw new Error('the plaintext is empty')
  const isSigned = (flags & SIGNED) !== 0
  // Something besides flags and signature must be there, as in the reference.
  if (isSigned && plain.length < SIGNATURE + 2) throw new Error('there is no room for a signature')
  const end = isSigned ? plain.length - SIGNATURE : plain.length
  const width = flags & SIZE_MASK
  let size = 0
  for (let i = width; i > 0; i--) size = size * 256 + (plain[i] ?? 0)
  const from = 1 + width
  if (from + size > end) throw new Error(`a payload of ${size} bytes does not fit`)
  return {
    payload: plain.subarray(from, from + size),
    padding: plain.subarray(from + size, end),
    signer: isSigned ? signerOf(plain.subarray(0, end), plain.subarray(end)) : null,
  }
}

/** Who signed the Keccak-256 of `signed`, 65 bytes as hex; throws where nobody can have. */
export function signerOf(signed: Uint8Array, signature: Uint8Array): string {
  const v = signature[SIGNATURE - 1]
  if (signature.length !== SIGNATURE || v === undefined || v > 3) {
    throw new Error('the signature is not one')
  }
  const point = secp256k1.Signature.fromBytes(signature.subarray(0, 64), 'compact')
    .addRecoveryBit(v)
    .recoverPublicKey(keccak_256(signed))
  return `0x${toHex(point.toBytes(false))}`
}

/** The short form of a public key in hex, as heads carry it. */
export function compressed(key: string): string {
  return `0x${toHex(secp256k1.Point.fromHex(key.slice(2)).toBytes(true))}`
}
