// Heads and how they came of one another: a lane for each key, a branch for each
// archive that was united.
import type { Head } from '../net/api.ts'
import { count } from './format.ts'
import { CidLink, When } from './parts.tsx'
import { Foreign } from './text.tsx'

const LANE = 18
/** From the top of a row to the middle of its head, pixels. */
const TOP = 22
/** Branches that are drawn of one head; all are named beside it. */
const BRANCHES = 4

/** The lane of each head: that of its key, in order of appearance. */
export function lanes(heads: Head[]): number[] {
  const keys = new Map<string, number>()
  return heads.map(({ key }) => {
    if (!keys.has(key)) keys.set(key, keys.size)
    return keys.get(key)!
  })
}

const middle = (lane: number): number => lane * LANE + LANE / 2 + 2

/** What is drawn beside one head. The text beside it says how high it is. */
function Lane(
  { lane, above, goesOn, wide, united, isNewest }:
  { lane: number; above: number | null; goesOn: boolean; wide: number; united: number; isNewest: boolean },
) {
  const x = middle(lane)
  const end = middle(wide)
  return (
    <>
      {above !== null && <path class="edge" d={`M${middle(above)} -1C${middle(above)} ${TOP * 0.6} ${x} ${TOP * 0.4} ${x} ${TOP}`} />}
      {goesOn && <line class="edge" x1={x} y1={TOP} x2={x} y2="100%" />}
      {Array.from({ length: Math.min(united, BRANCHES) }, (_, i) => {
        const y = TOP + 12 + i * 11
        return (
          <>
            <path class="edge united" d={`M${x} ${TOP}C${x + 6} ${y} ${end - 10} ${y} ${end} ${y}`} />
            <rect class="stub" x={end - 4} y={y - 4} width={8} height={8} />
          </>
        )
      })}
      <circle class={isNewest ? 'node newest' : 'node'} cx={x} cy={TOP} r={isNewest ? 6 : 4.5} />
    </>
  )
}

export function Lineage({ heads, goesOn }: { heads: Head[]; goesOn: boolean }) {
  const lane = lanes(heads)
  const wide = Math.max(...lane, 0) + 1
  const hasMerges = heads.some((head) => head.merged.length > 0)
  const width = (wide + (hasMerges ? 1 : 0)) * LANE + 6
  return (
    <ol class="lineage">
      {heads.map((head, row) => {
        const before = heads[row + 1]
        const added = before ? head.count - before.count : null
        const isFork = before !== undefined && before.key !== head.key
        const hasMore = before !== undefined || (goesOn && head.prev !== null)
        return (
          <li key={head.head}>
            <span class="lane" style={{ width: `${width}px` }} aria-hidden="true">
              <svg width={width} height="100%">
                <Lane lane={lane[row] ?? 0} above={row === 0 ? null : lane[row - 1]!} goesOn={hasMore} wide={wide}
                  united={head.merged.length} isNewest={row === 0} />
              </svg>
            </span>
            <div>
              <div><strong>{count(head.seq)}</strong> <CidLink cid={head.head} short /> {isFork && <span class="tag">fork: another key signs from here on</span>}
                {head.merged.length > 0 && <span class="tag">merge</span>}</div>
              <div class="muted">
                <When at={head.signed_at} /> · {count(head.count)} envelopes{added === null ? '' : `, ${added < 0 ? '−' : '+'}${count(Math.abs(added))}`}
                {head.name && <> · <Foreign text={head.name} /></>}
                {head.merged.map((cid) => <> · united <CidLink cid={cid} short /></>)}
              </div>
            </div>
          </li>
        )
      })}
    </ol>
  )
}
