// Protobuf, read by tables of fields.
//
// Always true: nothing is read past the bytes given; a known field of another form than
// its table says is no message; unknown fields are passed over, groups too, or, of a
// message that is to be whole, refused.
import { toText } from './bytes.ts'

/** What fields hold. A list is one of byte strings. */
interface Values {
  bytes: Uint8Array
  list: Uint8Array[]
  text: string
  int32: number
  uint64: number
  bool: boolean
}

/** The fields of a message: their numbers, and what they hold. */
export interface Shape {
  readonly [name: string]: readonly [number: number, holds: keyof Values | Shape]
}

/** What a message says; what is absent, empty, zero or false is undefined. */
export type Told<S extends Shape> = {
  -readonly [N in keyof S]?: S[N][1] extends keyof Values ? Values[S[N][1]] : S[N][1] extends Shape ? Told<S[N][1]> : never
}

/** How deep unknown groups may nest. */
const DEEPEST = 100
/** Wire types. */
const VARINT = 0
const FIXED_64 = 1
const LENGTH = 2
const GROUP = 3
const GROUP_END = 4
const FIXED_32 = 5

function fail(): never {
  throw new Error('this is no such message')
}

/** Reads a message; throws for what is none. */
export const decode = <S extends Shape>(shape: S, bytes: Uint8Array): Told<S> => merge(shape, bytes, false, {}) as Told<S>

/** Reads a message that is made of `bytes` to the last one, written as everybody writes
 * it: known fields in their order, each but lists once and not empty, numbers at their
 * shortest. Null for what is none. */
export function whole<S extends Shape>(shape: S, bytes: Uint8Array): Told<S> | null {
  if (bytes.length === 0) return null
  try {
    return merge(shape, bytes, true, {}) as Told<S>
  } catch {
    return null
  }
}

/** Reads the fields of `bytes` into `told`: of one that comes again the last counts. */
function merge(shape: Shape, bytes: Uint8Array, isWhole: boolean, told: Record<string, unknown>) {
  const fields = new Map(Object.entries(shape).map(([name, [number, holds]]) => [number, { name, holds }]))
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++] ?? fail()
      if (shift === 63n && byte > 1) fail()
      value |= BigInt(byte & 0x7f) << shift
      if (byte >= 0x80) continue
      if (isWhole && byte === 0 && shift > 0n) fail()
      return value
    }
    return fail()
  }
  const take = (length: bigint): Uint8Array => {
    if (length > BigInt(bytes.length - at)) fail()
    return bytes.subarray(at, (at += Number(length)))
  }
  const key = (): [number: number, wire: number] => {
    const value = varint()
    return value > 0xffff_ffffn || value < 8n ? fail() : [Number(value >> 3n), Number(value & 7n)]
  }
  const pass = (number: number, wire: number, depth: number): void => {
    if (depth === DEEPEST) fail()
    if (wire === VARINT) varint()
    else if (wire === LENGTH) take(varint())
    else if (wire === FIXED_64 || wire === FIXED_32) take(wire === FIXED_64 ? 8n : 4n)
    else if (wire === GROUP) {
      let [inner, its] = key()
      for (; its !== GROUP_END; [inner, its] = key()) pass(inner, its, depth + 1)
      if (inner !== number) fail()
    } else fail()
  }
  const int32 = (): number => {
    const value = varint()
    const int = BigInt.asIntN(32, value)
    if (isWhole && BigInt.asUintN(64, int) !== value) fail()
    return Number(int)
  }
  const valueOf = (holds: Shape[string][1], before: unknown): unknown => {
    if (holds === 'int32') return int32() || undefined
    if (holds === 'uint64') return Number(varint()) || undefined
    if (holds === 'bool') return varint() !== 0n || undefined
    const value = take(varint())
    if (holds === 'text') return (toText(value) ?? fail()) || undefined
    if (holds === 'bytes') return value.length > 0 ? value : undefined
    if (holds !== 'list') return merge(holds, value, isWhole, (before ?? {}) as Record<string, unknown>)
    const list = (before ?? []) as Uint8Array[]
    list.push(value)
    return list
  }
  for (let last = 0; at < bytes.length; ) {
    const [number, wire] = key()
    const field = fields.get(number)
    if (isWhole && (!field || number < last || (number === last && field.holds !== 'list'))) fail()
    last = number
    if (!field) {
      pass(number, wire, 0)
      continue
    }
    const { name, holds } = field
    const isNumber = holds === 'int32' || holds === 'uint64' || holds === 'bool'
    if (wire !== (isNumber ? VARINT : LENGTH)) fail()
    told[name] = valueOf(holds, told[name])
    if (isWhole && told[name] === undefined) fail()
  }
  return told
}
