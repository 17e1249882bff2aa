// The page's side of the worker.
import type { Answer, Asked, AskedKey, OpenedEnvelope, WireEnvelope } from './terms.ts'

let worker: Worker | null = null
let next = 0
const waiting = new Map<number, { done: (answer: Answer) => void; failed: (error: Error) => void }>()

/** The one script this page ever loads by itself. The policy that the daemon sends
 * lets no text become a script, or markup, in any other way. */
const WORKER = 'worker.js'
interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(text: string): string }): { createScriptURL(text: string): string }
}
const types = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes
const policy = types?.createPolicy('gwa', {
  createScriptURL(text) {
    if (text !== WORKER) throw new Error('no script but the worker')
    return text
  },
})

function start(): Worker {
  const started = new Worker(policy ? policy.createScriptURL(WORKER) : WORKER)
  started.onmessage = (event: MessageEvent<{ id: number; answer?: Answer; error?: string }>) => {
    const { id, answer, error } = event.data
    const who = waiting.get(id)
    waiting.delete(id)
    if (answer) who?.done(answer)
    else who?.failed(new Error(error ?? 'the worker said nothing'))
  }
  started.onerror = () => {
    for (const who of waiting.values()) who.failed(new Error('the worker of this page does not start'))
    waiting.clear()
  }
  return started
}

function ask(asked: Asked): Promise<Answer> {
  worker ??= start()
  const id = next++
  return new Promise((done, failed) => {
    waiting.set(id, { done, failed })
    worker!.postMessage({ id, asked })
  })
}

/** Opens envelopes of a topic; they come back in their order. */
export async function openEnvelopes(key: AskedKey, topic: string, envelopes: WireEnvelope[]): Promise<OpenedEnvelope[]> {
  const answer = await ask({ op: 'open', key, topic, envelopes })
  return answer.op === 'open' ? answer.envelopes : []
}

/** The compressed key that signed, hex. */
export async function signer(signed: Uint8Array, signature: Uint8Array): Promise<string> {
  const answer = await ask({ op: 'signer', signed, signature })
  return answer.op === 'signer' ? answer.key : ''
}
