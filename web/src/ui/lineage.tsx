// Heads and how they came of one another: a lane for each key, a branch for each
// archive that was united.
import type { Head } from '../net/api.ts'
import { count } from './format.ts'
import { CidLink, When } from './parts.tsx'
import { Foreign } from './text.tsx'

const ROW = 64
const LANE = 18

/** The lane of each head: that of its key, in order of appearance. */
export function lanes(heads: Head[]): number[] {
  const keys = new Map<string, number>()
  return heads.map(({ key }) => {
    if (!keys.has(key)) keys.set(key, keys.size)
    return keys.get(key)!
  })
}

export function Lineage({ heads, goesOn }: { heads: Head[]; goesOn: boolean }) {
  const lane = lanes(heads)
  const wide = Math.max(...lane, 0) + 1
  const hasMerges = heads.some((head) => head.merged.length > 0)
  const width = (wide + (hasMerges ? 1 : 0)) * LANE + 6
  const x = (of: number) => of * LANE + LANE / 2 + 2
  const y = (row: number) => row * ROW + 22
  return (
    <div class="lineage">
      <svg width={width} height={heads.length * ROW} viewBox={`0 0 ${width} ${heads.length * ROW}`} aria-hidden="true">
        {heads.map((head, row) => {
          const here = lane[row] ?? 0
          const below = lane[row + 1]
          const hasMore = below !== undefined || (goesOn && head.prev)
          const to = below ?? here
          const bottom = below === undefined ? heads.length * ROW : y(row + 1)
          return (
            <g>
              {hasMore && <path class="edge" d={`M${x(here)} ${y(row)}C${x(here)} ${y(row) + ROW * 0.6} ${x(to)} ${bottom - ROW * 0.6} ${x(to)} ${bottom}`} />}
              {head.merged.map((_, i) => (
                <>
                  <path class="edge united" d={`M${x(here)} ${y(row)}C${x(here) + 8} ${y(row) + 14 + i * 12} ${x(wide) - 8} ${y(row) + 14 + i * 12} ${x(wide)} ${y(row) + 14 + i * 12}`} />
                  <rect class="stub" x={x(wide) - 4} y={y(row) + 10 + i * 12} width={8} height={8} />
                </>
              ))}
              <circle class={row === 0 ? 'node newest' : 'node'} cx={x(here)} cy={y(row)} r={row === 0 ? 6 : 4.5} />
            </g>
          )
        })}
      </svg>
      <ol>
        {heads.map((head, row) => {
          const before = heads[row + 1]
          const added = before ? head.count - before.count : null
          const isFork = before !== undefined && before.key !== head.key
          return (
            <li>
              <div><strong>{count(head.seq)}</strong> <CidLink cid={head.head} short /> {isFork && <span class="tag">fork: another key signs from here on</span>}
                {head.merged.length > 0 && <span class="tag">merge</span>}</div>
              <div class="muted">
                <When at={head.signed_at} /> · {count(head.count)} envelopes{added === null ? '' : `, ${added < 0 ? '−' : '+'}${count(Math.abs(added))}`}
                {head.name && <> · <Foreign text={head.name} /></>}
                {head.merged.map((cid) => <> · united <CidLink cid={cid} short /></>)}
              </div>
            </li>
          )
        })}
      </ol>
    </div>
  )
}
