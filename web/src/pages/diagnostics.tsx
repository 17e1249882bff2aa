// What a person who helps would ask for.
import { useState } from 'preact/hooks'
import type { Diagnostics as Told } from '../net/api.ts'
import { useApi, type Live } from '../net/live.ts'
import { count, plural } from '../ui/format.ts'
import { Answer, Bytes, Copy, Empty, Figure, Guarded, Panel, Table, useNow, When } from '../ui/parts.tsx'
import { Foreign } from '../ui/text.tsx'

const shown = (value: unknown): string => {
  if (Array.isArray(value)) return value.map(shown).join(', ')
  if (typeof value === 'number') return count(value)
  return typeof value === 'string' ? value : value == null ? '' : JSON.stringify(value)
}

export function Diagnostics({ live }: { live: Live }) {
  const told = useApi<Told>('api/v1/diagnostics', useNow(30_000))
  return <Guarded of={told}><Answer of={told}>{(it) => <All it={it} live={live} />}</Answer></Guarded>
}

function All({ it, live }: { it: Told; live: Live }) {
  const [filter, setFilter] = useState('')
  const has = (...texts: string[]) => texts.some((text) => text.toLowerCase().includes(filter.toLowerCase()))
  const settings = it.settings.filter((one) => has(one.key, shown(one.value)))
  const limits = it.limits.filter((one) => has(one.name, one.reason))
  return (
    <>
      <Panel title="This daemon" id="daemon" side={<Copy text={JSON.stringify({ ...it, status: live.status }, null, 2)} what="report" />}>
        <dl class="figures">
          <Figure name="Version"><Foreign text={it.version} /></Figure>
          <Figure name="Memory">{it.memory == null ? 'not known' : <Bytes of={it.memory} />}</Figure>
          <Figure name="Archive on disk">{it.disk.archive == null ? 'not known' : <Bytes of={it.disk.archive} />}</Figure>
          <Figure name="Free on disk" tone={it.disk.free != null && it.disk.free < 1e9 ? 'warn' : undefined}>{it.disk.free == null ? 'not known' : <Bytes of={it.disk.free} />}</Figure>
          <Figure name="Reached by others" tone={it.reachable === false ? 'warn' : undefined}
            note={it.reachable === false ? 'forward the port, or see --nat' : null}>{it.reachable == null ? 'not known' : it.reachable ? 'yes' : 'not seen yet'}</Figure>
        </dl>
        <dl class="pairs">
          {Object.entries(it.listen).filter(([, value]) => value != null && !(Array.isArray(value) && value.length === 0)).map(([name, value]) => (
            <><dt>{name}</dt><dd><code><Foreign text={shown(value)} /></code></dd></>
          ))}
        </dl>
        <p class="muted">“Copy” takes all of this page as text. Passwords, keys and tokens are never in it.</p>
      </Panel>
      <Panel title="Warnings" id="warnings">
        {it.warnings.length === 0 ? <Empty><p>No warning since the start.</p></Empty> : (
          <Table label="Warnings">
            <thead><tr><th scope="col">When</th><th scope="col">Level</th><th scope="col">What</th><th scope="col">From</th></tr></thead>
            <tbody>{it.warnings.map((one) => (
              <tr><td><When at={one.at} ago /></td><td><span class={`tag ${/error/i.test(one.level) ? 'bad' : 'warn'}`}>{one.level.toLowerCase()}</span></td><td><Foreign text={one.text} max={2_000} />{one.times > 1 && <span class="muted"> ({plural(one.times, 'time')})</span>}</td><td><code><Foreign text={one.target} max={80} /></code></td></tr>
            ))}</tbody>
          </Table>
        )}
      </Panel>
      <form class="bar" onSubmit={(event) => event.preventDefault()}><label class="grow"><span>Find a setting or a limit</span><input name="filter" type="search" value={filter} onInput={(event) => setFilter(event.currentTarget.value)} /></label></form>
      <Panel title="Settings" id="settings">
        <Table label="Settings">
          <thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col">From</th></tr></thead>
          <tbody>{settings.map((one) => <tr><td><code>{one.key}</code></td><td><Foreign text={shown(one.value)} max={400} /></td><td class="muted">{one.from}</td></tr>)}</tbody>
        </Table>
        {settings.length === 0 && <p class="muted">None of that name.</p>}
      </Panel>
      <Panel title="Limits" id="limits">
        <Table label="Limits">
          <thead><tr><th scope="col">Limit</th><th scope="col" class="num">Value</th><th scope="col">Why</th></tr></thead>
          <tbody>{limits.map((one) => <tr><td><code>{one.name}</code></td><td class="num">{shown(one.value)}</td><td>{one.reason}</td></tr>)}</tbody>
        </Table>
        {limits.length === 0 && <p class="muted">None of that name.</p>}
      </Panel>
    </>
  )
}
