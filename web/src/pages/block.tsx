// One block, decoded: fetched raw, hashed in this page, links clickable.
import { useEffect, useState } from 'preact/hooks'
import {
  asCid, cidOf, cidOfBytes, isRecord, KIND_NAMES, RAW, signedPart, walk, type Kind, type Place,
} from '../archive/blocks.ts'
import { ApiError, rawBlock } from '../net/api.ts'
import { signer } from '../reader/client.ts'
import { count, plural } from '../ui/format.ts'
import { Bytes, CidLink, Code, Copy, Panel, Problem, Table, When } from '../ui/parts.tsx'
import { link } from '../ui/route.ts'
import { Foreign } from '../ui/text.tsx'
import { toHex } from '../whisper/bytes.ts'
import { envelopesOf } from '../whisper/envelope.ts'

/** Bytes of a raw block that are shown as hex, and lines of a table. */
const HEX_SHOWN = 2_048
const LINES_SHOWN = 512
/** How deep a value is shown: blocks may nest 32 levels. */
const DEPTH = 32

export function BlockView({ path }: { path: string[] }) {
  const [root = '', ...rest] = path
  const [place, setPlace] = useState<{ of: string; place: Place } | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const [round, setRound] = useState(0)
  const of = path.join('/')
  useEffect(() => {
    let isWanted = true
    setError(null)
    const follow = async () => walk(cidOf(root), rest, rawBlock)
    follow().then(
      (found) => isWanted && setPlace({ of, place: found }),
      (failed: unknown) => isWanted && setError(failed instanceof Error ? failed : new ApiError(String(failed), 0)),
    )
    return () => {
      isWanted = false
    }
  }, [of, round])
  const shown = place?.of === of ? place.place : null
  return (
    <Panel title={shown ? (shown.isWhole ? KIND_NAMES[shown.kinds.at(-1)!] : 'Part of a block') : 'Block'} id="block">
      {path.length > 1 && <Crumbs path={path} />}
      {error && <Problem error={error} again={() => setRound(round + 1)} />}
      {!error && !shown && <p class="muted waiting">Fetching and hashing…</p>}
      {shown && !error && <Whole place={shown} path={path} />}
    </Panel>
  )
}

function Crumbs({ path }: { path: string[] }) {
  return (
    <nav class="crumbs" aria-label="Path">
      <ol>
        {path.map((name, i) => {
          const text = <Foreign text={i === 0 && name.length > 16 ? `${name.slice(0, 8)}…${name.slice(-6)}` : name} max={200} />
          return <li>{i === path.length - 1 ? <span aria-current="location">{text}</span> : <a href={link(['explore', ...path.slice(0, i + 1)])}>{text}</a>}</li>
        })}
      </ol>
    </nav>
  )
}

function Whole({ place, path }: { place: Place; path: string[] }) {
  const { block, value, isWhole } = place
  const kind = place.kinds.at(-1)!
  const cid = block.cid.toString()
  return (
    <>
      <p class="line">
        <code data-test="cid">{cid}</code> <Copy text={cid} what="CID" />
      </p>
      <p class="muted">
        <span class="tag good">verified</span> its {plural(block.bytes.length, 'byte')} were hashed in this page and are what the CID names
        · {block.cid.code === RAW ? 'raw' : 'dag-cbor'} · <a href={`ipfs/${cid}?format=raw`} download={`${cid}.${block.cid.code === RAW ? 'bin' : 'cbor'}`}>download</a>
      </p>
      {isWhole ? <Known kind={kind} place={place} path={path} /> : <Value value={value} path={path} depth={0} />}
      {isWhole && kind !== 'leaf' && kind !== 'unknown' && (
        <details class="raw"><summary>All fields</summary><Value value={value} path={path} depth={0} /></details>
      )}
      {isWhole && kind === 'leaf' && <details class="raw"><summary>Bytes</summary><Hex bytes={block.bytes} /></details>}
    </>
  )
}

function Known({ kind, place, path }: { kind: Kind; place: Place; path: string[] }) {
  const { value, block } = place
  if (kind === 'leaf') return <Leaf bytes={block.bytes} />
  if (!isRecord(value)) return <Value value={value} path={path} depth={0} />
  switch (kind) {
    case 'head': return <HeadBlock head={value} path={path} />
    case 'pack': return <Pack pack={value} path={path} />
    case 'topics': return <Topics index={value} path={path} />
    case 'unknown': return <Value value={value} path={path} depth={0} />
    default: return <CalendarNode node={value} path={path} />
  }
}

function Leaf({ bytes }: { bytes: Uint8Array }) {
  let envelopes
  try {
    envelopes = envelopesOf(bytes)
  } catch (error) {
    return <p class="muted">These bytes are no leaf of envelopes: {(error as Error).message}.</p>
  }
  return (
    <Table label="Envelopes of this leaf">
      <thead><tr><th scope="col">Topic</th><th scope="col">Sent, UTC</th><th scope="col">Hash</th><th scope="col" class="num">Size</th><th scope="col" class="num">TTL</th><th scope="col" class="num">Nonce</th></tr></thead>
      <tbody data-test="leaf">
        {envelopes.slice(0, LINES_SHOWN).map((one) => (
          <tr><td><a href={link(['explore'], { topic: one.topic })}><code>{one.topic}</code></a></td><td><When at={one.sent} brief /></td><td><Code text={one.hash} short what="hash" /></td>
            <td class="num"><Bytes of={one.size} /></td><td class="num">{count(one.ttl)} s</td><td class="num"><code>{String(one.nonce)}</code></td></tr>
        ))}
        {envelopes.length > LINES_SHOWN && <tr><td colSpan={6} class="muted">{plural(envelopes.length - LINES_SHOWN, 'envelope')} more</td></tr>}
      </tbody>
    </Table>
  )
}

function HeadBlock({ head, path }: { head: Record<string, unknown>; path: string[] }) {
  const [signature, setSignature] = useState('is being checked…')
  const key = head['key'] instanceof Uint8Array ? `0x${toHex(head['key'])}` : ''
  useEffect(() => {
    let isWanted = true
    const sig = head['sig']
    const check = sig instanceof Uint8Array ? signer(signedPart(head), sig) : Promise.reject(new Error('absent'))
    check.then(
      (by) => isWanted && setSignature(by === key ? 'valid: made by this key' : 'NOT of this key'),
      () => isWanted && setSignature('NOT a signature'),
    )
    return () => {
      isWanted = false
    }
  }, [head])
  const totals = Array.isArray(head['totals']) ? head['totals'] : []
  const at = (name: string) => (typeof head[name] === 'number' ? <When at={head[name] as number} /> : <span>none</span>)
  const child = (name: string, value: unknown, ...more: string[]) => {
    const cid = asCid(value)
    return cid ? <CidLink cid={cid.toString()} href={link(['explore', ...path, name, ...more])} /> : <span class="muted">none</span>
  }
  const other = (value: unknown) => <Earlier value={value} />
  const list = (value: unknown) => (Array.isArray(value) ? value : [])
  return (
    <dl class="pairs">
      <dt>Name</dt><dd>{typeof head['name'] === 'string' && head['name'] ? <Foreign text={head['name']} /> : <span class="muted">none</span>}</dd>
      <dt>Number</dt><dd>{count(Number(head['seq']))}</dd>
      <dt>Watermark</dt><dd>{at('watermark')}</dd>
      <dt>Signed</dt><dd>{at('time')}</dd>
      <dt>Holds</dt><dd>{plural(Number(totals[0] ?? 0), 'envelope')}, <Bytes of={Number(totals[1] ?? 0)} /></dd>
      <dt>State</dt><dd>{child('state', head['state'])}</dd>
      <dt>New in it</dt><dd>{child('added', head['added'])}</dd>
      <dt>Open deltas</dt><dd>{list(head['open']).length === 0 ? <span class="muted">none</span> : list(head['open']).map((one, i) => <div>{child('open', one, String(i))}</div>)}</dd>
      <dt>Head before</dt><dd>{other(head['prev'])}</dd>
      <dt>Long step back</dt><dd>{other(head['skip'])}</dd>
      <dt>United</dt><dd>{list(head['merged']).length === 0 ? <span class="muted">none</span> : list(head['merged']).map((one) => <div>{other(one)}</div>)}</dd>
      <dt>Key</dt><dd><Code text={key} what="key" /></dd>
      <dt>Signature</dt><dd data-test="signature">{signature}</dd>
    </dl>
  )
}

/** A CID in plain bytes, as heads name heads. */
function Earlier({ value }: { value: unknown }) {
  if (!(value instanceof Uint8Array)) return <span class="muted">none</span>
  try {
    return <CidLink cid={cidOfBytes(value).toString()} />
  } catch {
    return <code>0x{toHex(value)}</code>
  }
}

function CalendarNode({ node, path }: { node: Record<string, unknown>; path: string[] }) {
  const sums = isRecord(node['sums']) ? node['sums'] : {}
  const names = Object.keys(node).filter((name) => /^\d+$/.test(name)).sort()
  const topics = asCid(node['topics'])
  return (
    <>
      <Table label="Children">
        <thead><tr><th scope="col">Name</th><th scope="col" class="num">Envelopes</th><th scope="col" class="num">Size</th><th scope="col">CID</th></tr></thead>
        <tbody>
          {names.map((name) => {
            const [many, size] = Array.isArray(sums[name]) ? sums[name] : []
            const cid = asCid(node[name])
            return (
              <tr><td><a href={link(['explore', ...path, name])}>{name}</a>{node['open'] === Number(name) && <> <span class="tag">open</span></>}</td>
                <td class="num">{count(Number(many ?? 0))}</td><td class="num"><Bytes of={Number(size ?? 0)} /></td>
                <td>{cid && <CidLink cid={cid.toString()} short href={link(['explore', ...path, name])} />}</td></tr>
            )
          })}
        </tbody>
      </Table>
      {topics && <p>Topic index: <CidLink cid={topics.toString()} href={link(['explore', ...path, 'topics'])} /></p>}
    </>
  )
}

function Pack({ pack, path }: { pack: Record<string, unknown>; path: string[] }) {
  const name = 'leaves' in pack ? 'leaves' : 'packs'
  const children = Array.isArray(pack[name]) ? (pack[name] as unknown[]) : []
  return (
    <Table label={`Level ${String(pack['level'])}: ${name}`}>
      <thead><tr><th scope="col" class="num">No.</th><th scope="col">First topic</th><th scope="col">First sent, UTC</th><th scope="col" class="num">Topics</th><th scope="col" class="num">Envelopes</th><th scope="col" class="num">Size</th><th scope="col">CID</th></tr></thead>
      <tbody>
        {children.slice(0, LINES_SHOWN).map((child, i) => {
          const [key, to, many, size, , runs] = Array.isArray(child) ? child : []
          const cid = asCid(to)
          const bytes = key instanceof Uint8Array && key.length === 40 ? key : new Uint8Array(40)
          return (
            <tr><td class="num">{i}</td><td><code>0x{toHex(bytes.subarray(0, 4))}</code></td><td><When at={new DataView(bytes.buffer, bytes.byteOffset).getUint32(4)} brief /></td>
              <td class="num">{runs instanceof Uint8Array ? count(runs.length / 16) : ''}</td><td class="num">{count(Number(many ?? 0))}</td><td class="num"><Bytes of={Number(size ?? 0)} /></td>
              <td>{cid && <CidLink cid={cid.toString()} short href={link(['explore', ...path, name, String(i), '1'])} />}</td></tr>
          )
        })}
      </tbody>
    </Table>
  )
}

function Topics({ index, path }: { index: Record<string, unknown>; path: string[] }) {
  const lines = Array.isArray(index['topics']) ? (index['topics'] as unknown[]) : null
  const leaves = Array.isArray(index['leaves']) ? (index['leaves'] as unknown[]) : []
  if (!lines) {
    const nodes = Array.isArray(index['nodes']) ? (index['nodes'] as unknown[]) : []
    return (
      <Table label="Nodes of the topic index">
        <thead><tr><th scope="col">First topic</th><th scope="col">CID</th></tr></thead>
        <tbody>{nodes.map((node, i) => {
          const [topic, to] = Array.isArray(node) ? node : []
          const cid = asCid(to)
          return <tr><td><code>{topic instanceof Uint8Array ? `0x${toHex(topic)}` : ''}</code></td><td>{cid && <CidLink cid={cid.toString()} short href={link(['explore', ...path, 'nodes', String(i), '1'])} />}</td></tr>
        })}</tbody>
      </Table>
    )
  }
  return (
    <Table label="Topics, and the days that have them">
      <thead><tr><th scope="col">Topic</th><th scope="col">Days: envelopes</th></tr></thead>
      <tbody>
        {lines.slice(0, LINES_SHOWN).map((line) => {
          const [topic, days] = Array.isArray(line) ? line : []
          const numbers = Array.isArray(days) ? days.map(Number) : []
          const triples = Array.from({ length: numbers.length / 3 }, (_, i) => numbers.slice(3 * i, 3 * i + 3))
          const hex = topic instanceof Uint8Array ? `0x${toHex(topic)}` : ''
          return (
            <tr><td><a href={link(['explore'], { topic: hex })}><code>{hex}</code></a></td>
              <td>{triples.map(([day, many, leaf]) => (
                <span class="pair">{leaf && asCid(leaves[leaf - 1]) ? <a href={link(['explore', ...path, 'leaves', String(leaf - 1)])}>{day}: {count(many!)}</a> : <>{day}: {count(many!)}</>}</span>
              ))}</td></tr>
          )
        })}
        {lines.length > LINES_SHOWN && <tr><td colSpan={2} class="muted">{plural(lines.length - LINES_SHOWN, 'topic')} more</td></tr>}
      </tbody>
    </Table>
  )
}

/** Any value of DAG-CBOR. */
function Value({ value, path, depth }: { value: unknown; path: string[]; depth: number }) {
  if (depth > DEPTH) return <span class="muted">deeper than {DEPTH} levels</span>
  const cid = asCid(value)
  if (cid) return <CidLink cid={cid.toString()} href={link(['explore', ...path])} />
  if (value instanceof Uint8Array) return <Hex bytes={value} />
  if (typeof value === 'string') return <span class="string">“<Foreign text={value} />”</span>
  if (value === null || typeof value !== 'object') return <code>{String(value)}</code>
  const pairs: Array<[string, unknown]> = Array.isArray(value) ? value.map((one, i) => [String(i), one]) : Object.entries(value)
  if (pairs.length === 0) return <span class="muted">{Array.isArray(value) ? 'empty list' : 'empty map'}</span>
  return (
    <dl class="tree">
      {pairs.slice(0, LINES_SHOWN).map(([name, one]) => (
        <div><dt><a href={link(['explore', ...path, name])}><Foreign text={name} max={200} /></a></dt><dd><Value value={one} path={[...path, name]} depth={depth + 1} /></dd></div>
      ))}
      {pairs.length > LINES_SHOWN && <div class="muted">{count(pairs.length - LINES_SHOWN)} more</div>}
    </dl>
  )
}

function Hex({ bytes }: { bytes: Uint8Array }) {
  if (bytes.length <= 72) return <code class="hex">0x{toHex(bytes)}</code>
  const lines: string[] = []
  for (let at = 0; at < Math.min(bytes.length, HEX_SHOWN); at += 16) {
    const row = bytes.subarray(at, at + 16)
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const text = [...row].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·')).join('')
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`)
  }
  return (
    <>
      <pre class="hex" tabIndex={0} aria-label="Bytes as hex">{lines.join('\n')}</pre>
      {bytes.length > HEX_SHOWN && <p class="muted">{count(bytes.length - HEX_SHOWN)} bytes more</p>}
    </>
  )
}
