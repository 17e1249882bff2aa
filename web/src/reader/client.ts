// The page's side of the worker.
import type { Answer, Asked, AskedKey, OpenedEnvelope, WireEnvelope } from './terms.ts'

let worker: Worker | null = null
let next = 0
const waiting = new Map<number, { done: (answer: Answer) => void; failed: (error: Error) => void }>()

function start(): Worker {
  const started = new Worker(new URL('worker.js', document.baseURI))
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

/** Opens envelopes; they come back in their order. */
export async function openEnvelopes(key: AskedKey, envelopes: WireEnvelope[]): Promise<OpenedEnvelope[]> {
  const answer = await ask({ op: 'open', key, envelopes })
  return answer.op === 'open' ? answer.envelopes : []
}

/** The compressed key that signed, hex. */
export async function signer(signed: Uint8Array, signature: Uint8Array): Promise<string> {
  const answer = await ask({ op: 'signer', signed, signature })
  return answer.op === 'signer' ? answer.key : ''
}
