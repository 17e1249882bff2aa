// Bars over time, and the same as a table.
import { count, hour, instant, bytes } from './format.ts'
import { Table } from './parts.tsx'

export interface Bar { from: number; count: number; bytes: number }

const HEIGHT = 96
const WIDTH = 10
const GAP = 2

/** Envelopes by hour: a picture for eyes, a table for all. */
export function Bars({ bars, label }: { bars: Bar[]; label: string }) {
  const most = Math.max(1, ...bars.map((bar) => bar.count))
  const width = bars.length * (WIDTH + GAP)
  const total = bars.reduce((sum, bar) => sum + bar.count, 0)
  const first = bars[0]
  const last = bars.at(-1)
  return (
    <figure class="bars">
      <div class="axis"><span>{count(most)} envelopes an hour at most</span><span>{count(total)} together</span></div>
      <svg viewBox={`0 0 ${width} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${label}: ${count(total)} envelopes, at most ${count(most)} an hour`}>
        {bars.map((bar, i) => {
          const height = bar.count === 0 ? 1 : Math.max(3, (bar.count / most) * (HEIGHT - 4))
          return (
            <g>
              <title>{`${instant(bar.from)} UTC: ${count(bar.count)} envelopes, ${bytes(bar.bytes)}`}</title>
              <rect class="hit" x={i * (WIDTH + GAP)} y={0} width={WIDTH + GAP} height={HEIGHT} />
              <rect class={bar.count === 0 ? 'none' : 'bar'} x={i * (WIDTH + GAP) + GAP / 2} y={HEIGHT - height} width={WIDTH} height={height} />
            </g>
          )
        })}
      </svg>
      {first && last && <div class="axis"><span>{instant(first.from).slice(0, 16)} UTC</span><span>{instant(last.from).slice(0, 16)}</span></div>}
      <details>
        <summary>As a table</summary>
        <Table label={label}>
          <thead><tr><th scope="col">Hour, UTC</th><th scope="col" class="num">Envelopes</th><th scope="col" class="num">Bytes</th></tr></thead>
          <tbody>
            {bars.map((bar) => (
              <tr><td>{instant(bar.from).slice(0, 10)} {hour(bar.from)}</td><td class="num">{count(bar.count)}</td><td class="num">{bytes(bar.bytes)}</td></tr>
            ))}
          </tbody>
        </Table>
      </details>
    </figure>
  )
}
