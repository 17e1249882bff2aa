// Is what the head names whole and true? The daemon recomputes everything.
import { useEffect, useState } from 'preact/hooks'
import { ApiError, hasToken, post, setToken, type Verify as Told } from '../net/api.ts'
import { useApi, type Live } from '../net/live.ts'
import { count, plural, span } from '../ui/format.ts'
import { announce, Answer, Bytes, CidLink, Empty, Figure, Panel, Problem, Progress, Table, useNow, When } from '../ui/parts.tsx'
import { Foreign } from '../ui/text.tsx'
import { NOT_TAKEN, TokenField } from '../ui/token.tsx'

/** How often a run is asked for where no events come, milliseconds. */
const ASK_EVERY = 1_000

export function Verify({ live }: { live: Live }) {
  const [round, setRound] = useState(0)
  const asked = useApi<Told>('api/v1/verify', round)
  const told = live.link === 'live' && live.verify && round === 0 ? live.verify : asked.data
  const isRunning = told?.running != null
  useEffect(() => {
    if (!isRunning || live.link === 'live') return undefined
    const timer = setInterval(() => setRound((before) => before + 1), ASK_EVERY)
    return () => clearInterval(timer)
  }, [isRunning, live.link])
  useEffect(() => setRound(0), [live.verify])
  return (
    <div class="stack">
      <Panel title="Run now" id="run">
        <Run isRunning={isRunning} started={() => {
          asked.again()
          announce('Verification started')
        }} />
        {told?.running && <Running of={told.running} />}
      </Panel>
      <Panel title="Last result" id="last">
        <Answer of={{ ...asked, data: told }}>{({ last }) => (last ? <Last of={last} /> : <Empty><p>Nothing was verified since the start.</p><p>A run reads every block from the head down, hashes it, builds each segment anew and compares.</p></Empty>)}</Answer>
      </Panel>
    </div>
  )
}

function Run({ isRunning, started }: { isRunning: boolean; started: () => void }) {
  const [given, setGiven] = useState('')
  const [isKnown, setIsKnown] = useState(hasToken)
  const [error, setError] = useState<ApiError | null>(null)
  const run = async (event: Event) => {
    event.preventDefault()
    if (isRunning) return
    if (given) setToken(given)
    try {
      await post('api/v1/verify')
      setError(null)
      setIsKnown(hasToken())
      setGiven('')
      started()
    } catch (failed) {
      const told = failed as ApiError
      if (told.status === 409) {
        setError(null)
        return started()
      }
      if (told.status === 401) {
        setToken('')
        setIsKnown(false)
        setError(new ApiError(NOT_TAKEN, 401))
      } else setError(told)
    }
  }
  return (
    <form class="bar" onSubmit={(event) => void run(event)} autocomplete="off">
      {!isKnown && <TokenField value={given} onInput={setGiven} />}
      <button type="submit" aria-disabled={isRunning}>{isRunning ? 'Running…' : 'Verify now'}</button>
      {isKnown && <span class="muted">The token is kept until this page is closed.</span>}
      {error && <Problem error={error} />}
    </form>
  )
}

function Running({ of }: { of: NonNullable<Told['running']> }) {
  const now = useNow(1_000)
  const share = of.total ? of.done / of.total : null
  const took = Math.max(1, now - of.started)
  const left = share && share > 0.02 ? (took / share) * (1 - share) : null
  return (
    <div class="running" aria-live="off" data-test="running">
      <p><strong><Foreign text={of.phase} /></strong> · {count(of.done)}{of.total !== null && <> of {count(of.total)}</>} envelopes{share !== null && <> ({Math.floor(share * 100)} %)</>}</p>
      <Progress label="Verification" done={of.done} total={of.total} />
      <p class="muted"><Bytes of={of.bytes} /> read, <Bytes of={Math.round(of.bytes / took)} /> a second, for {span(took)}{left !== null && <>, about {span(left)} left</>}</p>
    </div>
  )
}

function Last({ of }: { of: NonNullable<Told['last']> }) {
  return (
    <>
      <dl class="figures">
        <Figure name="Result" tone={of.ok ? 'good' : 'bad'} note={of.ok ? 'all is what the head says' : plural(of.fault_count, 'fault')}><span data-test="verify-result">{of.ok ? 'Verified' : 'Faults found'}</span></Figure>
        <Figure name="When" note={<When at={of.started} />}><When at={of.started} ago /></Figure>
        <Figure name="Took" note={of.took > 0 ? <><Bytes of={Math.round(of.bytes / of.took)} /> a second</> : null}>{of.took < 1 ? `${Math.round(of.took * 1000)} ms` : span(of.took)}</Figure>
        <Figure name="Envelopes" note={<>of {plural(of.days, 'day')}</>}><span data-test="verify-envelopes">{count(of.envelopes)}</span></Figure>
        <Figure name="Blocks" note={<Bytes of={of.bytes} />}>{count(of.blocks)}</Figure>
      </dl>
      <p>Head <CidLink cid={of.head} /></p>
      {of.not_held > 0 && <p class="muted">{plural(of.not_held, 'day')} that {of.not_held === 1 ? 'is' : 'are'} not on this disk {of.not_held === 1 ? 'was' : 'were'} not looked at.</p>}
      {of.faults.length > 0 && (
        <>
          <Table label="Faults">
            <thead><tr><th scope="col">Block</th><th scope="col">What is wrong</th></tr></thead>
            <tbody>{of.faults.slice(0, 200).map((fault) => <tr><td>{fault.cid ? <CidLink cid={fault.cid} short /> : <span class="muted">none named</span>}</td><td><Foreign text={fault.what} max={400} /></td></tr>)}</tbody>
          </Table>
          <p class="muted">What is damaged or gone is fetched again from anybody who has it. One process writes at a time: stop this daemon, run <code>gwa repair REF</code>, and start it again.</p>
        </>
      )}
    </>
  )
}
