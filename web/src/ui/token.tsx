// The token of the daemon, asked for where something needs it.
import { useEffect, useState } from 'preact/hooks'
import { hasToken, isExposed, setToken, type ApiError } from '../net/api.ts'

/** Words for a token that was refused. */
export const NOT_TAKEN = 'The daemon does not take this token. It stands in the file `rpc.token` of the data folder.'

/** The field, and a warning where what is typed into it can be read on its way. */
export function TokenField({ value, onInput }: { value: string; onInput: (text: string) => void }) {
  return (
    <>
      <label class="grow"><span>Token, from <code>rpc.token</code> in the data folder</span>
        <input name="token" type="password" value={value} onInput={(event) => onInput(event.currentTarget.value)} autocomplete="off" spellcheck={false}
          aria-describedby={isExposed() ? 'exposed' : undefined} />
      </label>
      {isExposed() && (
        <p class="exposed" id="exposed">This page came over plain HTTP from another machine: on its way the token can be read by others, and used. Open the page through TLS or an SSH tunnel first.</p>
      )}
    </>
  )
}

/** Asks for the token where an answer was refused without it, and asks again with it. */
export function AskToken({ error, again }: { error: ApiError; again: () => void }) {
  const [given, setGiven] = useState('')
  const [isWrong, setIsWrong] = useState(false)
  useEffect(() => {
    if (!hasToken()) return
    setToken('')
    setIsWrong(true)
  }, [error])
  const submit = (event: Event) => {
    event.preventDefault()
    if (!given.trim()) return
    setIsWrong(false)
    setToken(given)
    again()
  }
  return (
    <form class="bar" onSubmit={submit} autocomplete="off" aria-label="Token">
      <p class="muted whole">To other machines than its own the daemon tells this only with its token.</p>
      <TokenField value={given} onInput={setGiven} />
      <button type="submit">Show</button>
      {isWrong && <p class="wrong" role="alert">{NOT_TAKEN}</p>}
    </form>
  )
}
