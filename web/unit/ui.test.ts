import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as format from '../src/ui/format.ts'
import { lanes } from '../src/ui/lineage.tsx'
import { pieces } from '../src/ui/text.tsx'

const marks = (text: string, keepsLines = false) =>
  pieces(text, keepsLines).map((piece) => (typeof piece === 'string' ? piece : `[${piece.mark}]`)).join('')

test('what cannot be seen, or turns the direction of text, is marked; other scripts are not', () => {
  assert.equal(marks('a\u0000b\u001b[31m\u007f'), 'a[␀]b[␛][31m[␡]')
  assert.equal(marks('x\u202ey\u2066z\u200b\ufeff'), 'x[U+202E]y[U+2066]z[U+200B][U+FEFF]')
  assert.equal(marks('\u{e0041}'), '[U+E0041]')
  for (const text of ['aä漢שלام', '👋🏽 👨‍👩‍👧', '<b>&amp;</b>']) assert.equal(marks(text), text)
  assert.equal(marks('a\nb\tc\rd'), 'a[␊]b[␉]c[␍]d')
  assert.equal(marks('a\nb\tc\rd', true), 'a\nb\tc[␍]d')
})

test('sizes have three digits and a unit', () => {
  assert.deepEqual(
    [0, 999, 1_000, 1_234_567, 23_181_183, 999_600, 5e15].map(format.bytes),
    ['0 B', '999 B', '1.00 kB', '1.23 MB', '23.2 MB', '1.00 MB', '5.00 PB'],
  )
})

test('times are UTC, whatever the clock of the machine is set to', () => {
  assert.equal(format.instant(1_538_393_157), '2018-10-01 11:25:57')
  assert.equal(format.fromField('2018-10-01T11:25:57'), 1_538_393_157)
  assert.equal(format.fromField('2018-10-01T11:25'), 1_538_393_100)
  assert.equal(format.toField(1_538_393_157), '2018-10-01T11:25:57')
  assert.equal(format.fromField(''), null)
  assert.equal(format.fromField('yesterday'), null)
})

test('spans are told in the two units that matter', () => {
  assert.deepEqual(
    [0, 59, 61, 600, 3_600, 3_660, 90_000, 864_000].map(format.span),
    ['0 s', '59 s', '1 min 1 s', '10 min', '1 h', '1 h 1 min', '1 d 1 h', '10 d'],
  )
})

test('each key has one lane, by order of appearance', () => {
  const heads = ['b', 'b', 'a', 'b', 'c'].map((key) => ({ key }))
  assert.deepEqual(lanes(heads as never), [0, 0, 1, 0, 2])
})

test('a day in the address is its first second, at an end its last; what is no time is none', () => {
  assert.equal(format.fromField('2018-10-01'), 1_538_352_000)
  assert.equal(format.fromField('2018-10-01', true), 1_538_438_399)
  assert.equal(format.fromField('2018-10-01T11:25:57', true), 1_538_393_157)
  for (const text of ['2018-13-45', '2018-02-30', '2018-02-30T10:00', '2018-10-01T25:00', '1960-01-01', '9999-01-01', '<b>', '2018']) {
    assert.equal(format.fromField(text), null, text)
  }
  assert.ok(format.isDay('2020-02-29'))
  for (const text of ['2019-02-29', '2018-13-45', '2018-9-1', '2018-09-15T00:00']) assert.ok(!format.isDay(text), text)
})

test('two names that look the same are told apart', () => {
  const unseen = ['\u3164', '\u115f', '\u1160', '\uffa0', '\u2800', '\u034f', '\u200c', '\u200d', '\ufe0f', '\u180b', '\u{e0100}', '\u{1d173}', '\u206a']
  for (const c of unseen) {
    assert.notEqual(marks(`sta${c}tus`), marks('status'), c.codePointAt(0)!.toString(16))
    assert.match(marks(`sta${c}tus`), /^sta\[U\+[0-9A-F]+\]tus$/)
  }
  for (const text of ['❤️‍🔥', '👩🏽‍🚀', '1️⃣', 'می‌خواهم', 'क्‍ष', '葛\u{e0100}']) assert.equal(marks(text), text)
})
