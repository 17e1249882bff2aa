// Blocks: fetched, hashed against their CID, decoded.
//
// Always true: what `blockOf` gives was hashed in this page and is what its CID
// names; a daemon or a proxy that answers otherwise is refused.
import { decode, encode } from '@ipld/dag-cbor'
import { sha256 } from '@noble/hashes/sha2.js'
import { CID } from 'multiformats/cid'
import { equal } from '../whisper/bytes.ts'

/** The two codecs of the archive format, and its one hash. */
export const RAW = 0x55
export const DAG_CBOR = 0x71
const SHA2_256 = 0x12

/** The largest block that is read, bytes. */
export const MAX_BLOCK = 2 * 1024 * 1024

/** Blocks kept for walking about, newest last. */
const KEPT = 64

/** A block that is what its CID names. */
export interface Block {
  cid: CID
  bytes: Uint8Array
  /** Decoded DAG-CBOR; the bytes themselves of a raw block. */
  value: unknown
}

export type Fetch = (cid: string) => Promise<Uint8Array>

/** The CID that a text writes; throws in words where it is none of an archive. */
export function cidOf(text: string): CID {
  let cid: CID
  try {
    cid = CID.parse(text.trim().replace(/^ipfs:\/\//, '').replace(/^\/?ipfs\//, ''))
  } catch {
    throw new Error('this is no CID: one of an archive starts with “bafy” or “bafk”')
  }
  return admitted(cid)
}

function admitted(cid: CID): CID {
  const { version, code, multihash } = cid
  if (version !== 1 || (code !== RAW && code !== DAG_CBOR) || multihash.code !== SHA2_256) {
    throw new Error('this CID is not of the archive format: CIDv1, sha2-256, dag-cbor or raw')
  }
  return cid
}

/** The CID in plain bytes, as heads name other heads. */
export function cidOfBytes(bytes: Uint8Array): CID {
  return admitted(CID.decode(bytes))
}

/** The CID that an IPLD link is; null for all else. */
export function asCid(value: unknown): CID | null {
  return CID.asCID(value)
}

/** Checks bytes against their CID, and decodes them. */
export function verified(cid: CID, bytes: Uint8Array): Block {
  if (bytes.length > MAX_BLOCK) throw new Error(`a block of ${bytes.length} bytes is above 2 MiB`)
  if (!equal(sha256(bytes), cid.multihash.digest)) {
    throw new Error('these bytes are not what the CID names: they are not shown')
  }
  if (cid.code === RAW) return { cid, bytes, value: bytes }
  const value: unknown = decode(bytes)
  if (!equal(encode(value), bytes)) throw new Error('this is not the strict form of DAG-CBOR')
  return { cid, bytes, value }
}

const kept = new Map<string, Block>()

/** The block `cid`, out of those kept or fetched. */
export async function blockOf(cid: CID, fetch: Fetch): Promise<Block> {
  const name = cid.toString()
  const had = kept.get(name)
  if (had) return had
  const block = verified(admitted(cid), await fetch(name))
  kept.set(name, block)
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!)
  return block
}

/** A step of a path, and the block it led into where it did. */
export interface Step {
  name: string
  /** The path from the root up to here, `/` between names. */
  path: string
}

/** Where a path leads. */
export interface Place {
  /** The block in which it ends. */
  block: Block
  /** What lies there: the block's value, or a part of it. */
  value: unknown
  /** Whether that is the whole block. */
  isWhole: boolean
  /** Names of the blocks passed, the last with this block's kind known by them. */
  kinds: Kind[]
}

/** What a block is in the archive format. */
export type Kind =
  | 'head' | 'state' | 'year' | 'month' | 'day' | 'calendar' | 'pack' | 'leaf' | 'topics' | 'unknown'

/** What a block is called on the page. */
export const KIND_NAMES: Record<Kind, string> = {
  head: 'Head',
  state: 'State: years',
  year: 'Year: months',
  month: 'Month: days',
  day: 'Open day: hours',
  calendar: 'Calendar node',
  pack: 'Pack: leaves by topic',
  leaf: 'Leaf: envelopes',
  topics: 'Topic index',
  unknown: 'Block of another format',
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !asCid(value) &&
  !(value instanceof Uint8Array)

const BELOW: Partial<Record<Kind, Kind>> = { state: 'year', year: 'month', month: 'day' }

/** What a block is, by its fields, and where they leave a choice by what is above it. */
export function kindOf(block: Block, above: Kind | null): Kind {
  if (block.cid.code === RAW) return 'leaf'
  const value = block.value
  if (!isRecord(value)) return 'unknown'
  if ('sig' in value && 'watermark' in value && 'state' in value) return 'head'
  if ('level' in value) {
    if ('topics' in value || 'nodes' in value) return 'topics'
    return 'leaves' in value || 'packs' in value ? 'pack' : 'unknown'
  }
  if (!('sums' in value)) return 'unknown'
  const names = Object.keys(value).filter((name) => /^\d+$/.test(name))
  if (names.length > 0 && names.every((name) => name.length === 4)) return 'state'
  if ('topics' in value || 'open' in value) return 'month'
  return (above && BELOW[above]) || 'calendar'
}

/** Follows `path` from `root` through verified blocks. */
export async function walk(root: CID, path: string[], fetch: Fetch): Promise<Place> {
  let block = await blockOf(root, fetch)
  let kinds = [kindOf(block, null)]
  let value = block.value
  let isWhole = true
  for (const name of path) {
    let below: unknown
    if (Array.isArray(value) && /^\d+$/.test(name)) below = value[Number(name)]
    else if (isRecord(value) && Object.hasOwn(value, name)) below = value[name]
    if (below === undefined) throw new Error(`there is no “${name}” at this place`)
    const link = asCid(below)
    if (link) {
      block = await blockOf(link, fetch)
      kinds = [...kinds, kindOf(block, kinds.at(-1) ?? null)]
      value = block.value
      isWhole = true
    } else {
      value = below
      isWhole = false
    }
  }
  return { block, value, isWhole, kinds }
}

/** The bytes that a head's signature is over: the map without `sig`. */
export function signedPart(head: Record<string, unknown>): Uint8Array {
  const { sig: _, ...rest } = head
  return encode(rest)
}

export { isRecord }
