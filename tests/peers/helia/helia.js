// Helia on loopback, without peers of its own: fetches a DAG from one peer by bitswap,
// or gives the blocks of a CAR. Prints lines of JSON.
//
//   helia.js walk ADDRESS CID [AT_ONCE]     every block below CID from the peer there
//   helia.js get ADDRESS CID PATH..         what a path of names leads to
//   helia.js serve FILE.car                 gives these blocks until it is killed
import { open } from 'node:fs/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import * as dagCbor from '@ipld/dag-cbor'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

const [what, ...args] = process.argv.slice(2)

function tell (event, facts) {
  console.log(JSON.stringify({ event, ...facts }))
}

async function start () {
  const helia = withBitswap(withLibp2pLight(createHeliaLight({ codecs: [dagCbor] }), {
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() }
  }))
  await helia.start()
  return helia
}

// How often a block is asked for, and for how long: Helia aborts a stream on which
// nothing came for 10 s, and asks no more for what was on it.
const TRIES = 4
const PATIENCE = 20_000

async function bytesOf (helia, cid) {
  for (let tried = 1; ; tried++) {
    try {
      return await whole(await helia.blockstore.get(cid, { signal: AbortSignal.timeout(PATIENCE) }))
    } catch (error) {
      tell('again', { cid: cid.toString(), tried })
      if (tried === TRIES) {
        throw error
      }
    }
  }
}

// A block's bytes, whether the store gives them whole or in pieces.
async function whole (got) {
  if (got instanceof Uint8Array) {
    return got
  }
  const pieces = []
  for await (const piece of got) {
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

function links (value, into = []) {
  const cid = CID.asCID(value)
  if (cid != null) {
    into.push(cid)
  } else if (value != null && typeof value === 'object' && !(value instanceof Uint8Array)) {
    Object.values(value).forEach(inner => links(inner, into))
  }
  return into
}

async function walk (helia, root, atOnce) {
  const seen = new Set([root.toString()])
  const queue = [root]
  let [blocks, bytes, under] = [0, 0, 0]
  await new Promise((resolve, reject) => {
    const next = () => {
      while (under < atOnce && queue.length > 0) {
        const cid = queue.shift()
        under++
        bytesOf(helia, cid).then(block => {
          blocks++
          if (blocks % 100 === 0) {
            tell('walking', { blocks })
          }
          bytes += block.length
          under--
          for (const link of cid.code === dagCbor.code ? links(dagCbor.decode(block)) : []) {
            if (!seen.has(link.toString())) {
              seen.add(link.toString())
              queue.push(link)
            }
          }
          next()
        }).catch(reject)
      }
      if (under === 0 && queue.length === 0) {
        resolve()
      }
    }
    next()
  })
  tell('walked', { blocks, bytes })
}

async function get (helia, cid, names) {
  let value = cid
  for (const name of ['', ...names]) {
    value = name === '' ? value : value[name]
    if (CID.asCID(value) != null) {
      value = dagCbor.decode(await bytesOf(helia, CID.asCID(value)))
    }
  }
  tell('got', { names: Object.keys(value) })
}

// The blocks of a CARv1 file.
async function * blocksOf (path) {
  const file = await open(path)
  const { size } = await file.stat()
  let at = 0
  const varint = async () => {
    const { buffer } = await file.read(Buffer.alloc(10), 0, 10, at)
    let [value, shift, n] = [0, 1, 0]
    for (;;) {
      value += (buffer[n] & 0x7f) * shift
      shift *= 128
      at++
      if (buffer[n++] < 0x80) {
        return value
      }
    }
  }
  const header = await varint()
  at += header
  while (at < size) {
    const length = await varint()
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, at)
    at += length
    const [cid, bytes] = CID.decodeFirst(buffer)
    yield { cid, bytes }
  }
  await file.close()
}

const helia = await start()
if (what === 'serve') {
  let blocks = 0
  for await (const { cid, bytes } of blocksOf(args[0])) {
    await helia.blockstore.put(cid, bytes)
    blocks++
  }
  const [address] = helia.libp2p.getMultiaddrs()
  tell('serving', { address: address.toString(), blocks })
} else {
  const [address, cid, ...rest] = args
  await helia.libp2p.dial(multiaddr(address))
  tell('connected', {})
  if (what === 'walk') {
    await walk(helia, CID.parse(cid), Number(rest[0] ?? 16))
  } else {
    await get(helia, CID.parse(cid), rest)
  }
  await helia.stop()
  process.exit(0)
}
