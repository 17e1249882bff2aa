// Bars over time, and the same as a table.
import type { Hour } from '../net/api.ts'
import { bytes, count, hour, instant, plural } from './format.ts'
import { Table } from './parts.tsx'

const HEIGHT = 96
const WIDTH = 10
const GAP = 2

/** Envelopes by hour: a picture for eyes, a table for all. */
export function Bars({ bars, label }: { bars: Hour[]; label: string }) {
  const most = Math.max(1, ...bars.map((bar) => bar.count))
  const width = bars.length * (WIDTH + GAP)
  const total = bars.reduce((sum, bar) => sum + bar.count, 0)
  const first = bars[0]
  const last = bars.at(-1)
  const isKnown = (bar: Hour) => bar.known !== false
  const unknown = bars.filter((bar) => !isKnown(bar)).length
  return (
    <figure class="bars">
      <div class="axis"><span>{count(most)} envelopes an hour at most</span><span>{count(total)} together</span></div>
      <svg viewBox={`0 0 ${width} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${label}: ${count(total)} envelopes, at most ${count(most)} an hour${unknown ? `; ${plural(unknown, 'hour')} not known` : ''}`}>
        {bars.map((bar, i) => {
          const height = !isKnown(bar) ? HEIGHT - 4 : bar.count === 0 ? 1 : Math.max(3, (bar.count / most) * (HEIGHT - 4))
          return (
            <g>
              <title>{`${instant(bar.from)} UTC: ${isKnown(bar) ? `${count(bar.count)} envelopes, ${bytes(bar.bytes)}` : 'not known, its day is not on this disk'}`}</title>
              <rect class="hit" x={i * (WIDTH + GAP)} y={0} width={WIDTH + GAP} height={HEIGHT} />
              <rect class={!isKnown(bar) ? 'unknown' : bar.count === 0 ? 'none' : 'bar'} x={i * (WIDTH + GAP) + GAP / 2} y={HEIGHT - height} width={WIDTH} height={height} />
            </g>
          )
        })}
      </svg>
      {first && last && <div class="axis"><span>{instant(first.from).slice(0, 16)} UTC</span><span>{instant(last.from).slice(0, 16)}</span></div>}
      {unknown > 0 && <p class="muted" data-test="unknown">{plural(unknown, 'hour')} {unknown === 1 ? 'is' : 'are'} not known: {unknown === 1 ? 'its day rests' : 'their days rest'} with others, not on this disk.</p>}
      <details>
        <summary>As a table</summary>
        <Table label={label}>
          <thead><tr><th scope="col">Hour, UTC</th><th scope="col" class="num">Envelopes</th><th scope="col" class="num">Bytes</th></tr></thead>
          <tbody>
            {bars.map((bar) => (
              <tr><td>{instant(bar.from).slice(0, 10)} {hour(bar.from)}</td>
                {isKnown(bar) ? <><td class="num">{count(bar.count)}</td><td class="num">{bytes(bar.bytes)}</td></> : <td class="num muted" colSpan={2}>not known</td>}</tr>
            ))}
          </tbody>
        </Table>
      </details>
    </figure>
  )
}
