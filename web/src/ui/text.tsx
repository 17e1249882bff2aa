// Texts that strangers wrote.
//
// Always true: they become text nodes and nothing else; what would be invisible, or
// would turn the direction of what stands beside it, is shown as a mark.
import type { ComponentChildren } from 'preact'

const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu

/** A mark for a character that has no look of its own. */
function mark(c: string): string {
  const code = c.codePointAt(0)!
  if (code < 0x20) return String.fromCodePoint(0x2400 + code)
  if (code === 0x7f) return '␡'
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`
}

/** Text in pieces: strings as they are, and unseen characters as marks. */
export function pieces(text: string, keepsLines = false): Array<string | { mark: string; code: string }> {
  const out: Array<string | { mark: string; code: string }> = []
  let at = 0
  for (const match of text.matchAll(UNSEEN)) {
    const [c] = match
    if (keepsLines && (c === '\n' || c === '\t')) continue
    if (match.index > at) out.push(text.slice(at, match.index))
    out.push({ mark: mark(c), code: `U+${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}` })
    at = match.index + c.length
  }
  if (at < text.length) out.push(text.slice(at))
  return out
}

/** A text of a stranger; `lines` keeps its line ends. At most `max` characters are shown. */
export function Foreign({ text, lines, max = 20_000 }: { text: string; lines?: boolean; max?: number }) {
  const cut = text.length > max ? text.slice(0, max) : text
  const children: ComponentChildren[] = pieces(cut, lines).map((piece) =>
    typeof piece === 'string' ? piece : <span class="unseen" title={piece.code}>{piece.mark}</span>,
  )
  return (
    <bdi class={lines ? 'foreign lines' : 'foreign'}>
      {children}
      {cut.length < text.length && <span class="muted"> … {text.length - max} characters more</span>}
    </bdi>
  )
}
