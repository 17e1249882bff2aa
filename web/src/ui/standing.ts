// How the daemon is, in a word and a colour: the same on every page.
import type { Live } from '../net/live.ts'

export interface Standing {
  tone: 'good' | 'warn' | 'bad' | undefined
  /** For a heading, as `Archiving`. */
  state: string
  /** For a line, as `no peers`. */
  words: string
}

export function standing({ health, link }: Pick<Live, 'health' | 'link'>): Standing {
  if (link === 'lost') return { tone: 'bad', state: 'Not known', words: 'the daemon does not answer' }
  if (!health) return { tone: undefined, state: '…', words: 'asking…' }
  const state = health.takes_in === false ? 'Mirroring' : 'Archiving'
  if (!health.ok) return { tone: 'bad', state: `Not ${state.toLowerCase()}`, words: health.error ?? 'something is wrong' }
  if (health.store_error) return { tone: 'warn', state, words: 'the store cannot be reached' }
  if (health.name_error) return { tone: 'warn', state, words: 'its names lead to no newer head' }
  if (health.takes_in === false) return { tone: 'good', state, words: 'mirroring' }
  if (health.peers === 0) return { tone: 'warn', state: 'Waiting for peers', words: 'no peers' }
  return { tone: 'good', state, words: 'archiving' }
}
