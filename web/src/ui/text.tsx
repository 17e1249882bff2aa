// Texts that strangers wrote.
//
// Always true: they become text nodes and nothing else; what would be invisible, or
// would turn the direction of what stands beside it, is shown as a mark.
import type { ComponentChildren } from 'preact'

/** What has no look of its own: controls, what Unicode lets programs ignore, line and
 * paragraph separators, the blank of Braille. */
const UNSEEN = /[\p{Cc}\p{Default_Ignorable_Code_Point}\u2028\u2029\u2800\ufff9-\ufffb]/gu

/** What a joiner may stand after: emoji, and letters of scripts that are written with it. */
const JOINED =
  /[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f\p{Script=Arabic}\p{Script=Syriac}\p{Script=Nko}\p{Script=Mongolian}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Tibetan}]$/u
const PICTURE = /\p{Extended_Pictographic}$/u
const HAN = /\p{Script=Han}$/u

/** Whether an unseen character does what it is there for, and changes what is seen. */
function isAtWork(c: string, before: string, after: string): boolean {
  const code = c.codePointAt(0)!
  if (code === 0x200c || code === 0x200d) return JOINED.test(before)
  // The look of an emoji, or a digit that becomes a key.
  if (code === 0xfe0e || code === 0xfe0f) return PICTURE.test(before) || (/[0-9#*]$/.test(before) && after.startsWith('\u20e3'))
  if (code >= 0xe0100 && code <= 0xe01ef) return HAN.test(before)
  return false
}

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
    const end = match.index + c.length
    if (isAtWork(c, text.slice(Math.max(0, match.index - 2), match.index), text.slice(end, end + 2))) continue
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
