// What stands before the text of a message, where it is no plain one.
import { bytes } from '../ui/format.ts'
import type { Said } from '../whisper/payload.ts'

/** Characters of the name of another message that are shown; all of them are in the details. */
const SHORT_ID = 14

/** In a few words what a message is, and about which other one; empty of a plain text.
 * Some of the words are the sender's. */
export function remark({ format, kind = '', text, attached, replies_to }: Said): string {
  const about = replies_to && `about ${replies_to.length > SHORT_ID ? `${replies_to.slice(0, SHORT_ID)}…` : replies_to}`
  return [what(), about].filter(Boolean).join(', ')

  function what(): string {
    if (attached && 'sticker' in attached) return `sticker ${attached.sticker.hash} of pack ${attached.sticker.pack}`
    if (attached && 'image' in attached) return `image, ${attached.image.encoding}, ${bytes(attached.image.bytes)}`
    if (attached) return `audio, ${attached.audio.duration / 1000} s, ${bytes(attached.audio.bytes)}`
    // What a text is needs no words.
    const isText = format === 'text' || kind === 'text' || kind.endsWith('text/plain')
    return text && isText ? '' : kind || 'no text'
  }
}
